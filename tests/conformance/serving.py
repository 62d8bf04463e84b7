"""Package the cases as `serve package` does, serve many in one strict Triton, and compare what comes back."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cases import Case, Request, Value
from outcomes import Outcome, Verdict

from serve_deploy.endpoint.address import Endpoint, parse_endpoint
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.inference import send_request
from serve_deploy.endpoint.model import Model, with_served_ranks
from serve_deploy.endpoint.payload import Sample
from serve_deploy.errors import InvalidModelError, ServeError
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import package_model
from serve_deploy.samples.files import encode_samples
from serve_deploy.triton import ServerOptions, TritonServer, start_server

_TRIES = 10
_WITHOUT_NUMPY = ("bfloat", "float8", "float4", "int4", "int2")


def run_case(case: Case) -> str | None:
    """Whether ONNX Runtime itself reproduces the case: "" where it does, else why not; None where that is not tried."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            case.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        if not _has_only_tensors(session):
            return None
        names = [tensor.name for tensor in session.get_inputs()]
        for request in case.requests:
            feeds = {name: request.inputs[name] for name in names if request.inputs.get(name) is not None}
            if difference := compare(case, session.run(None, feeds), request.expected):
                return difference
    except Exception as error:  # noqa: BLE001 - whatever ONNX Runtime raises is its answer
        return _first_line(error)
    return ""


def _has_only_tensors(session: Any) -> bool:
    # What holds a sequence, map, optional or a type that numpy lacks is judged by packaging, not by running it here.
    tensors = [*session.get_inputs(), *session.get_outputs()]
    return all(
        tensor.type.startswith("tensor(") and not any(kind in tensor.type for kind in _WITHOUT_NUMPY)
        for tensor in tensors
    )


def package_case(case: Case, folder: Path, repository: Path) -> Outcome | None:
    """Package with the case's own inputs as samples; None where that worked."""
    source, samples = folder / f"{case.name}.onnx", folder / f"{case.name}.npz"
    onnx.save(case.model, source)
    given = [inputs for request in case.requests if _has_rows(inputs := _sendable(case, request))]
    samples.write_bytes(encode_samples(given))
    options = PackageOptions(
        repository=repository,
        name=case.name,
        samples=samples if given else None,
        verify=False,
        warmup=False,
        fix=True,
    )
    try:
        package_model(source, options)
    except InvalidModelError as error:
        return Outcome(case.name, Verdict.REFUSED, _first_line(error).replace(f"{folder}/", ""))
    except ServeError as error:
        return Outcome(case.name, Verdict.NOT_PACKAGED, f"exit code {error.exit_code}: {_first_line(error)}")
    except Exception as error:  # noqa: BLE001 - a crash of packaging is a finding, not the end of the run
        return Outcome(case.name, Verdict.NOT_PACKAGED, f"{type(error).__name__}: {_first_line(error)}")
    return None


def _has_rows(inputs: dict[str, np.ndarray]) -> bool:
    # Packaging refuses samples without rows, which prove nothing; such a request is only served.
    return bool(inputs) and all(not array.ndim or len(array) for array in inputs.values())


def _sendable(case: Case, request: Request) -> dict[str, np.ndarray]:
    initializers = {tensor.name for tensor in case.model.graph.initializer}
    return {
        name: value
        for name, value in request.inputs.items()
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufO" and name not in initializers
    }


def serve_cases(cases: Sequence[Case], repository: Path) -> Iterator[Outcome]:
    """Serve packaged cases in one Triton without auto-complete, and ask each what it expects to be asked."""
    options = ServerOptions(repository=repository, runtime="embedded", auto_complete=False)
    with start_server(options) as server:
        states = {state.name: state for state in server.model_states()}
        for case in cases:
            state = states[case.name]
            if state.state != "READY":
                yield Outcome(case.name, Verdict.NOT_LOADED, state.reason)
            else:
                yield _ask_case_until_healthy(server, case)


def _ask_case_until_healthy(server: TritonServer, case: Case) -> Outcome:
    """On a busy machine Triton takes a model's process that was not scheduled for a second for a dead one."""
    for _ in range(_TRIES):
        outcome = _ask_case(server, case)
        if "is not healthy" not in outcome.cause:
            break
    return outcome


def _ask_case(server: TritonServer, case: Case) -> Outcome:
    endpoint = parse_endpoint(server.grpc_url)
    try:
        with ControlPlane(endpoint, timeout_seconds=120) as control:
            model = control.describe_model(case.name)
        for request in case.requests:
            if left_out := [name for name, value in request.inputs.items() if value is None]:
                return Outcome(case.name, Verdict.LEFT_OUT, ", ".join(left_out))
            outputs = _ask(endpoint, model, request)
            if difference := compare(case, [_find(outputs, name) for name in case.output_names], request.expected):
                return Outcome(case.name, Verdict.DIFFERENT, difference, model.max_batch_size)
    except (ServeError, ValueError) as error:
        return Outcome(case.name, Verdict.DIFFERENT, _first_line(error))
    return Outcome(case.name, Verdict.SERVED, "", model.max_batch_size, _features(model, case))


def _find(outputs: dict[str, np.ndarray], name: str) -> Value:
    """An output, or the list that it was split into."""
    parts = [outputs[part] for part in (f"{name}_{index}" for index in range(len(outputs))) if part in outputs]
    return outputs.get(name, parts)


def _ask(endpoint: Endpoint, model: Model, request: Request) -> dict[str, np.ndarray]:
    arrays = with_served_ranks(model.inputs, request.inputs)
    if not model.max_batch_size:
        return send_request(endpoint, model, Sample(arrays))
    # A case may hold more rows than the model takes at once; where batching is proven, they may be sent in parts.
    rows = len(next(iter(arrays.values())))
    parts = [
        send_request(
            endpoint,
            model,
            Sample({name: array[start : start + model.max_batch_size] for name, array in arrays.items()}),
        )
        for start in range(0, rows, model.max_batch_size)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def compare(case: Case, outputs: Sequence[Value], expected: Sequence[Value]) -> str | None:
    """How the outputs differ from those expected, within the case's own tolerances; None where they do not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, got, wanted in zip(case.output_names, outputs, expected, strict=False):
            if isinstance(wanted, list):
                if difference := _difference_of_sequences(got, wanted, case):
                    return f"{name}: {difference}"
                continue
            if difference := _difference(np.asarray(got), wanted, case):
                return f"{name}: {difference}"
    return None


def _difference_of_sequences(got: Value, wanted: Sequence[np.ndarray], case: Case) -> str | None:
    """How a sequence's parts, or the tensor that they were made of, differ from the tensors expected."""
    if isinstance(got, list):
        if len(got) != len(wanted):
            return f"{len(got)} tensors instead of {len(wanted)}"
        return next(filter(None, (_difference(g, w, case) for g, w in zip(got, wanted, strict=True))), None)
    joined = []
    for join, axes in ((np.stack, wanted[0].ndim + 1), (np.concatenate, wanted[0].ndim)):
        for axis in range(axes):
            with contextlib.suppress(ValueError):
                joined.append(join(wanted, axis))
    return None if any(_difference(got, whole, case) is None for whole in joined) else "not the tensors expected"


def _difference(got: np.ndarray, wanted: np.ndarray, case: Case) -> str | None:
    if got.size == wanted.size and {got.ndim, wanted.ndim} <= {wanted.ndim, wanted.ndim + 1}:
        got = got.reshape(wanted.shape)
    if got.shape != wanted.shape:
        return f"shape {list(got.shape)} instead of {list(wanted.shape)}"
    if wanted.dtype.kind == "O":
        texts = [item.decode() if isinstance(item, bytes) else item for item in got.flat]
        return None if texts == list(wanted.flat) else f"{texts[:3]} instead of {list(wanted.flat)[:3]}"
    if got.dtype != wanted.dtype:
        return f"type {got.dtype} instead of {wanted.dtype}"
    if np.allclose(got, wanted, rtol=case.rtol, atol=case.atol, equal_nan=wanted.dtype.kind == "f"):
        return None
    return "other values"


def _features(model: Model, case: Case) -> tuple[str, ...]:
    found = {tensor.data_type.value for tensor in (*model.inputs, *model.outputs)}
    values = [value for request in case.requests for value in (*request.inputs.values(), *request.expected)]
    if any(isinstance(value, np.ndarray) and value.ndim == 0 for value in values):
        found.add("scalar")
    if any(isinstance(value, np.ndarray) and value.size == 0 for value in values):
        found.add("zero-size")
    if model.max_batch_size:
        found.add("batched")
    if not model.inputs:
        found.add("no inputs")
    return tuple(sorted(found))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
