"""The few requests that verification makes: one alone, many at once, and what Triton made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from serve_deploy.errors import VerificationError
from serve_deploy.model_config.build import client_inputs
from serve_deploy.tensors.types import DataType, ModelSignature
from serve_deploy.tensors.wire import decode_tensor, encode_tensor

if TYPE_CHECKING:
    import numpy as np

    Sample = Mapping[str, np.ndarray[Any, Any]]

_TIMEOUT_SECONDS = 600


class VerificationClient:
    """A gRPC connection for one model; gRPC because it has no size limit and takes any tensor name.

    The generated stub is used rather than tritonclient's classes, whose BF16 and strings differ between versions.
    """

    def __init__(self, grpc_url: str, name: str, signature: ModelSignature, max_batch_size: int) -> None:
        import grpc
        from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

        unlimited = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        self._channel = grpc.insecure_channel(grpc_url.removeprefix("grpc://"), options=unlimited)
        self._stub = GRPCInferenceServiceStub(self._channel)
        self._name = name
        self._signature = signature
        self._max_batch_size = max_batch_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def infer(self, sample: Sample) -> dict[str, np.ndarray[Any, Any]]:
        """One request; VerificationError where Triton refuses it."""
        return self.infer_together([sample])[0]

    def infer_together(self, samples: Sequence[Sample]) -> list[dict[str, np.ndarray[Any, Any]]]:
        """Send all requests at once and wait for every answer, in the order of the samples."""
        import grpc

        requests = [self._request(sample) for sample in samples]
        calls = [self._stub.ModelInfer.future(request, timeout=_TIMEOUT_SECONDS) for request in requests]
        try:
            return [_read_outputs(call.result()) for call in calls]
        except grpc.RpcError as error:
            raise VerificationError(
                f"Triton refuses a sample that ONNX Runtime takes: {error.details()}",
                hint="nothing was written; look at the request with serve run and serve infer",
            ) from error

    def largest_batch(self) -> int:
        """The largest batch that Triton has executed so far."""
        from tritonclient.grpc.service_pb2 import ModelStatisticsRequest

        statistics = self._stub.ModelStatistics(ModelStatisticsRequest(name=self._name), timeout=_TIMEOUT_SECONDS)
        return max((batch.batch_size for model in statistics.model_stats for batch in model.batch_stats), default=0)

    def _request(self, sample: Sample) -> Any:
        from tritonclient.grpc.service_pb2 import ModelInferRequest

        request = ModelInferRequest(model_name=self._name)
        for spec in client_inputs(self._signature, self._max_batch_size):
            if spec.name not in sample:
                continue
            array = sample[spec.name]
            # Triton has no rank 0, and with batching none beside the batch: such tensors are [1] for a client.
            shape = (*array.shape, 1) if array.ndim == (1 if self._max_batch_size else 0) else array.shape
            request.inputs.add(name=spec.name, datatype=spec.data_type.value, shape=shape)
            request.raw_input_contents.append(encode_tensor(spec.data_type, array))
        return request


def _read_outputs(response: Any) -> dict[str, np.ndarray[Any, Any]]:
    return {
        output.name: decode_tensor(DataType(output.datatype), content, tuple(output.shape))
        for output, content in zip(response.outputs, response.raw_output_contents, strict=True)
    }
