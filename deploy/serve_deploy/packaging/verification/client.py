"""The few requests that verification makes: one alone, many at once, and what Triton made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.connection import GrpcConnection
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.inference import send_together
from serve_deploy.endpoint.model import with_served_ranks
from serve_deploy.endpoint.payload import Outputs, Sample
from serve_deploy.errors import EndpointError, VerificationError

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]

_TIMEOUT_SECONDS = 600

# What is said of samples that were run without Triton before.
_TAKEN = " that runs without it"


class VerificationClient:
    """A connection for one model, over gRPC: it has no size limit and takes any tensor name.

    An ensemble executes each request alone: the batches that count are those of its `members`.
    """

    def __init__(self, grpc_url: str, name: str, members: Sequence[str] = (), *, taken: str = _TAKEN) -> None:
        endpoint = parse_endpoint(grpc_url)
        self._taken = taken
        self._connection = GrpcConnection(endpoint, _TIMEOUT_SECONDS)
        self._control = ControlPlane(endpoint, timeout_seconds=_TIMEOUT_SECONDS)
        self._model = self._control.describe_model(name)
        self._batching = members or (name,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._control.close()
        self._connection.close()

    def infer(self, sample: Arrays) -> Outputs:
        """One request; VerificationError where Triton refuses it."""
        return self.infer_together([sample])[0]

    def infer_together(self, samples: Sequence[Arrays], parameters: Sequence[Mapping[str, Any]] = ()) -> list[Outputs]:
        """Send all requests at once and wait for every answer, in the order of the samples."""
        requests = [Sample(with_served_ranks(self._model.inputs, sample)) for sample in samples]
        try:
            return send_together(self._connection, self._model, requests, parameters)
        except EndpointError as error:
            raise VerificationError(
                f"Triton refuses a sample{self._taken}: {getattr(error, 'reason', error.message)}",
                hint="nothing was written; look at the request with serve run and serve infer",
            ) from error

    def largest_batch(self) -> int:
        """The largest batch that Triton has executed so far."""
        statistics = [each for name in self._batching for each in self._control.statistics(name)]
        return max(
            (int(batch["batch_size"]) for model in statistics for batch in model.get("batch_stats", [])), default=0
        )
