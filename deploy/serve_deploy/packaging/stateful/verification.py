"""Serve a model with a state with a real Triton, and compare sequences with the model run with its state in hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from serve_deploy.errors import EndpointError, UsageError, VerificationError
from serve_deploy.implicit_state.proof import Unrolled, output_scales, record_sequences
from serve_deploy.manifest import Verification
from serve_deploy.packaging.stateful.analysis import StatefulAnalysis
from serve_deploy.packaging.verification.client import VerificationClient
from serve_deploy.packaging.verification.server import (
    as_client_sees,
    blame,
    require_ready,
    start_to_verify,
    summarize,
)
from serve_deploy.progress import Progress
from serve_deploy.tensors.closeness import SERVED, Difference, compare
from serve_deploy.tensors.types import TensorSpec
from serve_deploy.triton import RuntimeName, ServerOptions
from serve_deploy.triton.log import read_models
from serve_deploy.triton.runtimes import InstalledRuntime

NOT_VERIFIED = (
    "the embedded server cannot keep a model's state; `runtime=docker` verifies with NVIDIA's container, "
    "`runtime=installed` with a tritonserver on PATH"
)
_STEPS = 8
_FEWEST_SEQUENCES, _MOST_SEQUENCES = 3, 8


def choose_runtime(asked: RuntimeName | None) -> RuntimeName | None:
    """The runtime that can keep a model's state; None where there is none unless one is asked for."""
    if asked == "embedded":
        raise UsageError(
            "`runtime=embedded`: this server's ONNX Runtime backend cannot keep a model's state",
            hint="`runtime=docker` or `runtime=installed` verifies it; without the option it is packaged unverified",
        )
    if asked is None and InstalledRuntime().why_unavailable() is None:
        return "installed"
    return asked


def verify_sequences(
    folder: Path, analysis: StatefulAnalysis, runtime: RuntimeName, progress: Progress
) -> Verification:
    """Send sequences, each alone and then all side by side, and compare every answer.

    Raises VerificationError where one differs, InvalidModelError where Triton refuses the model.
    """
    batch, model = analysis.batching.max_batch_size, analysis.model
    count = max(_FEWEST_SEQUENCES, min(batch, _MOST_SEQUENCES))
    sequences = record_sequences(model.original.run, model.own_states, model.make_step, count, _STEPS, model.first)
    options = ServerOptions(repository=folder.parent, auto_complete=False, runtime=runtime)
    with start_to_verify(options, progress) as server:
        require_ready(server, folder.name)
        progress(f"comparing sequences of {folder.name} with ONNX Runtime")
        exchange = _Exchange(folder.name, analysis, sequences)
        try:
            with VerificationClient(server.grpc_url, folder.name) as client:
                exchange.run(client)
                largest_batch = client.largest_batch()
        except (VerificationError, EndpointError) as error:
            raise blame(server, error) from error
        logged = read_models(server.log_text()).get(folder.name)
        return Verification(
            runtime=server.runtime,
            triton_version=server.version,
            requests=exchange.requests,
            largest_batch_executed=largest_batch,
            tensors=summarize(exchange.differences),
            distinct_samples=len(model.samples),
            sequences=len(sequences) + 1,
            load_seconds=logged.load_seconds if logged else 0.0,
            memory_bytes=server.memory_bytes(),
        )


class _Exchange:
    """The requests of all sequences, and how far each answer is from the model's own."""

    def __init__(self, name: str, analysis: StatefulAnalysis, sequences: Sequence[Unrolled]) -> None:
        self.name, self.sequences = name, sequences
        self.batched = analysis.batching.max_batch_size > 0
        self.model = analysis.model
        self.outputs = [spec for spec in analysis.signature.outputs if spec.name not in analysis.hidden]
        self.scales = output_scales(sequences)
        # What the size of the batch alone was seen to change.
        self.noise = analysis.state.largest_difference
        self.requests = 0
        self.differences: list[tuple[str, Difference]] = []

    def run(self, client: VerificationClient) -> None:
        """One sequence alone, then all of them at once; its number is used again, so that it has to start anew."""
        for step in range(len(self.sequences[0].steps)):
            self._send(client, [(0, step)])
        for step in range(max(len(sequence.steps) for sequence in self.sequences)):
            self._send(client, [(n, step) for n, sequence in enumerate(self.sequences) if step < len(sequence.steps)])

    def _send(self, client: VerificationClient, places: Sequence[tuple[int, int]]) -> None:
        sent = [self.model.client_view(self.sequences[number].steps[step]) for number, step in places]
        answers = client.infer_together(sent, [dict(self._flags(*place)) for place in places])
        self.requests += len(places)
        for (number, step), answer in zip(places, answers, strict=True):
            for spec in self.outputs:
                self._compare(spec, number, step, answer)

    def _flags(self, number: int, step: int) -> Iterator[tuple[str, Any]]:
        yield "sequence_id", number + 1
        yield "sequence_start", step == 0
        yield "sequence_end", step == len(self.sequences[number].steps) - 1

    def _compare(self, spec: TensorSpec, number: int, step: int, answer: Any) -> None:
        expected = as_client_sees(self.sequences[number].expected[step][spec.name], spec, batched=self.batched)
        scale = self.scales.get(spec.name)
        scale = None if scale is None else scale.reshape(expected.shape)
        difference = compare(answer[spec.name], expected, SERVED, noise=self.noise, scale=scale)
        self.differences.append((spec.name, difference))
        if difference.problem:
            raise VerificationError(
                f"{self.name}: Triton's answer to request {step + 1} of sequence {number + 1} does not match ONNX "
                f"Runtime: '{spec.name}' {difference.problem}",
                hint="nothing was written; `verify=False` skips this",
            )
