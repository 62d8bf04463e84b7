"""The few requests that verification makes: one alone, many at once, and what Triton made of them."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from serve_deploy.errors import VerificationError
from serve_deploy.model_config.build import client_inputs
from serve_deploy.tensor import ModelSignature

if TYPE_CHECKING:
    import numpy as np

    Sample = Mapping[str, np.ndarray[Any, Any]]

_TIMEOUT_SECONDS = 600


class VerificationClient:
    """A gRPC connection for one model; gRPC because it has no size limit and takes any tensor name."""

    def __init__(self, grpc_url: str, name: str, signature: ModelSignature, max_batch_size: int) -> None:
        from tritonclient.grpc import InferenceServerClient

        self._client = InferenceServerClient(grpc_url.removeprefix("grpc://"))
        self._name = name
        self._signature = signature
        self._max_batch_size = max_batch_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def infer(self, sample: Sample) -> dict[str, np.ndarray[Any, Any]]:
        """One request; VerificationError where Triton refuses it."""
        return self.infer_together([sample])[0]

    def infer_together(self, samples: Sequence[Sample]) -> list[dict[str, np.ndarray[Any, Any]]]:
        """Send all requests at once and wait for every answer, in the order of the samples."""
        answers: queue.Queue[tuple[int, Any, Any]] = queue.Queue()
        for index, sample in enumerate(samples):
            self._client.async_infer(
                self._name, self._inputs(sample), _put_into(answers, index), client_timeout=_TIMEOUT_SECONDS
            )
        results: list[dict[str, np.ndarray[Any, Any]]] = [{} for _ in samples]
        for _ in samples:
            index, result, error = answers.get()
            if error is not None:
                raise VerificationError(
                    f"Triton refuses a sample that ONNX Runtime takes: {error.message()}",
                    hint="nothing was written; look at the request with serve run and serve infer",
                )
            results[index] = self._outputs(result)
        return results

    def largest_batch(self) -> int:
        """The largest batch that Triton has executed so far."""
        statistics = self._client.get_inference_statistics(self._name)
        sizes = [batch.batch_size for model in statistics.model_stats for batch in model.batch_stats]
        return max(sizes, default=0)

    def _inputs(self, sample: Sample) -> list[Any]:
        from tritonclient.grpc import InferInput

        inputs = []
        for spec in client_inputs(self._signature, self._max_batch_size):
            if spec.name not in sample:
                continue
            array = sample[spec.name]
            if array.ndim == (1 if self._max_batch_size else 0):
                array = array.reshape(*array.shape, 1)
            item = InferInput(spec.name, list(array.shape), spec.data_type.value)
            item.set_data_from_numpy(array.astype(spec.data_type.numpy_name, copy=False))
            inputs.append(item)
        return inputs

    def _outputs(self, result: Any) -> dict[str, np.ndarray[Any, Any]]:
        return {spec.name: result.as_numpy(spec.name) for spec in self._signature.outputs}


def _put_into(answers: queue.Queue[tuple[int, Any, Any]], index: int) -> Callable[[Any, Any], None]:
    def put(result: Any, error: Any) -> None:
        answers.put((index, result, error))

    return put
