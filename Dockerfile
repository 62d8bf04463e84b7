# The tool with a real Triton for CPUs, and helm. `make wheel` comes first, then `docker build --tag serve .`
#   docker run --rm --volume "$PWD:/data" serve package model.onnx
FROM python:3.12-slim-bookworm AS tools
WORKDIR /tools
COPY scripts/get_kubernetes_tools.py .
RUN python get_kubernetes_tools.py --into .

FROM python:3.12-slim-bookworm
RUN --mount=type=bind,target=/context \
    wheel=$(echo /context/dist/triton_serve-*.whl) && \
    pip install --no-cache-dir --constraint /context/constraints.txt "${wheel}[local,image]"
COPY --from=tools /tools/helm4 /usr/local/bin/helm
RUN useradd --uid 1000 --create-home --home-dir /data serve
USER 1000
WORKDIR /data
ENTRYPOINT ["serve"]
