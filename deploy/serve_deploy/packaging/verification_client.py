"""The few requests that verification makes: one alone, many at once, and how Triton batched them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.control import ControlPlane, ask_model, connect_control_plane
from serve_deploy.endpoint.grpc_channel import SERVICE, channel_options
from serve_deploy.endpoint.model import Model
from serve_deploy.errors import VerificationError
from serve_deploy.tensors.types import client_shape

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]

_TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class VerificationClient:
    """A gRPC connection for one model; gRPC because it can send many requests at once without a thread for each."""

    control: ControlPlane
    channel: Any
    model: Model

    def infer(self, sample: Arrays) -> Arrays:
        """One request; VerificationError where Triton refuses it."""
        return self.infer_together([sample])[0]

    def infer_together(self, samples: Sequence[Arrays]) -> list[Arrays]:
        """Send all requests at once and wait for every answer, in the order of the samples."""
        import grpc

        from serve_deploy.endpoint.replies import grpc_outputs

        requests = [self._request(sample) for sample in samples]
        send = self.channel.unary_unary(f"/{SERVICE}/ModelInfer")
        calls = [send.future(request, timeout=_TIMEOUT_SECONDS) for request in requests]
        try:
            return [grpc_outputs(call.result()) for call in calls]
        except grpc.RpcError as error:
            raise VerificationError(
                f"Triton refuses a sample that ONNX Runtime accepts: {error.details()}",
                hint="nothing was written; try the request with serve run and serve infer",
            ) from error

    def largest_batch(self) -> int:
        """The largest batch that Triton has executed so far."""
        batches = [batch for model in self.control.statistics(self.model.name, "") for batch in model["batch_stats"]]
        return max((int(batch["batch_size"]) for batch in batches), default=0)

    def _request(self, sample: Arrays) -> bytes:
        from serve_deploy.endpoint.grpc_payload import grpc_request
        from serve_deploy.endpoint.payload import Sample

        batched = self.model.max_batch_size > 0
        inputs = {tensor.name: sample[tensor.name] for tensor in self.model.inputs if tensor.name in sample}
        arrays = {name: array.reshape(client_shape(array.shape, batched=batched)) for name, array in inputs.items()}
        return grpc_request(self.model, "", Sample(arrays))


@contextmanager
def connect(grpc_url: str, name: str) -> Iterator[VerificationClient]:
    """A client for a model that is served."""
    import grpc

    endpoint = parse_endpoint(grpc_url)
    with (
        closing(connect_control_plane(endpoint, timeout_seconds=_TIMEOUT_SECONDS)) as control,
        grpc.insecure_channel(endpoint.authority, channel_options()) as channel,
    ):
        yield VerificationClient(control, channel, ask_model(control, endpoint, name, ""))
