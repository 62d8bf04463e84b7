"""What `serve package` shows a person: the tensors, each derived number, and the verification."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from serve_cli import output
from serve_cli.batching_report import describe_batching
from serve_cli.framework_report import print_framework
from serve_cli.language_model_report import print_language_model
from serve_deploy.errors import ServeError
from serve_deploy.releases import find_release

if TYPE_CHECKING:
    from pathlib import Path

    from serve_deploy.manifest import Export, Manifest, Verification
    from serve_deploy.origin import Origin
    from serve_deploy.packaging.packaged import PackagedModel, PackageSummary
    from serve_deploy.stores.push.pushed import PushResult
    from serve_deploy.tensors.types import TensorSpec


def print_summary(summary: PackageSummary, *, verbose: bool = False) -> None:
    """Every model that was packaged; with several, a table of all at the end."""
    for model in summary.packaged:
        if model.dry_run:
            output.stdout().print(model.config, end="", markup=False)
            for path, text in model.named.items():
                output.stdout().print(f"\n# {path}\n{text}", end="", markup=False)
        else:
            _print_model(model, verbose)
        if model.manifest.language_model:
            print_language_model(model.manifest.language_model, verbose=verbose)
        for note in (*model.manifest.fixes, *model.notes):
            output.stderr().print(f"note: {output.in_flags(note)}", markup=False)
    if len(summary.packaged) + len(summary.failed) > 1:
        packaged = [
            (model.name, model.version, "not written" if model.dry_run else "packaged", model.folder)
            for model in summary.packaged
        ]
        failed = [(_label(model.source), "", "failed", output.in_flags(model.error)) for model in summary.failed]
        output.print_table(("model", "version", "result", ""), [*packaged, *failed])
    print_push(summary.pushed)


def print_push(pushed: PushResult | None) -> None:
    """Which snapshot has what was packaged, if it went to a store."""
    if pushed:
        console, sent = output.stdout(), output.write_bytes(pushed.sent_bytes)
        console.print(f"pushed to {pushed.store}: its current snapshot is {pushed.snapshot}, {sent} sent", markup=False)


def conclude(summary: PackageSummary) -> None:
    """Print the failures, and end with the exit code of the first."""
    several = len(summary.packaged) + len(summary.failed) > 1
    for failure in summary.failed:
        # With several models each line has to say which one it is about.
        label = _label(failure.source)
        message = f"{label}: {failure.error}" if several and label not in failure.error else failure.error
        output.print_error(ServeError(message, hint=failure.hint))
    if summary.failed:
        raise typer.Exit(summary.failed[0].exit_code)


def _label(source: Path | str) -> str:
    return source if isinstance(source, str) else source.name


def _print_model(model: PackagedModel, verbose: bool) -> None:
    manifest, console = model.manifest, output.stdout()
    console.print(f"{model.folder}: version {model.version} of {manifest.source_name}", markup=False)
    if manifest.origin:
        console.print(f"from {_describe_origin(manifest.origin)}", markup=False)
    if manifest.language_model:
        return
    print_tensors(manifest)
    if manifest.framework:
        print_framework(manifest, verbose=verbose)
        return
    for line in (*_facts(manifest, verbose), *_states(manifest)):
        console.print(line, markup=False)
    _print_profiles(manifest)
    if manifest.verification:
        print_verification(manifest, manifest.verification)
    else:
        console.print(f"not verified: {output.in_flags(model.not_verified)}", markup=False)


def _describe_origin(origin: Origin) -> str:
    told = origin.pinned if origin.pinned == origin.asked else f"{origin.asked}, which is {origin.pinned}"
    return f"{told}, of run {origin.run_id}" if origin.run_id and origin.run_id not in told else told


def print_tensors(manifest: Manifest) -> None:
    """A table of the inputs and outputs."""
    output.print_table(
        ("tensor", "type", "shape"), [*_rows("input", manifest.inputs), *_rows("output", manifest.outputs)]
    )


def _rows(kind: str, tensors: tuple[TensorSpec, ...]) -> Iterator[tuple[str, str, str]]:
    for tensor in tensors:
        name = f"{kind} {tensor.name}" + (" (optional)" if tensor.optional else "")
        yield name, tensor.data_type.value, str(list(tensor.shape))


def _facts(manifest: Manifest, verbose: bool) -> Iterator[str]:
    if manifest.export:
        yield from _describe_export(manifest.export)
    yield from describe_batching(manifest.batching)
    if verbose:
        if manifest.batching.verdict == "batchable":
            yield f"evidence: {manifest.batching.evidence}"
        yield from (f"tried {attempt}" for attempt in manifest.batching.attempts)
    if manifest.onnx_opsets:
        opsets = ", ".join(f"{domain} opset {version}" for domain, version in manifest.onnx_opsets.items())
        accepts = "accepts it:" if manifest.runs_every_operator else "reads"
        yield f"Triton {manifest.triton_release} {accepts} IR version {manifest.onnx_ir_version}, {opsets}"
    size = f", up to {manifest.sample_bytes:,} bytes each" if manifest.samples else ""
    yield f"{output.count(manifest.samples, 'sample')}{size}"


def _describe_export(export: Export) -> Iterator[str]:
    from serve_deploy.reports.figures import format_number

    largest = max((tensor.largest_relative_difference for tensor in export.tensors), default=0.0)
    at = f"at batch {', '.join(map(str, export.batch_sizes))}" if export.batch_sizes else "on each sample"
    yield f"exported by {export.exporter} from {export.framework} {export.framework_version}"
    apart = f"at most {format_number(100 * largest, 2)} % of the largest value apart"
    yield f"the export answers as the model {at}: {apart}"
    yield from (f"output '{name}' is random: its values were not compared" for name in export.random_outputs)


def _print_profiles(manifest: Manifest) -> None:
    """What was written for each GPU; nothing where none was asked for."""
    from serve_deploy.packaging.configuration.gpu_sizing import in_words

    rows = [
        (
            each.path,
            each.instances,
            each.max_batch_size,
            " ".join(filter(None, (each.accelerator, each.precision))) or "none",
            f"{in_words(each.instances * each.instance_bytes)} of {in_words(each.gpu_bytes)}"
            if each.instance_bytes is not None
            else "",
        )
        for each in manifest.profiles
    ]
    if rows:
        columns = ("configuration", "instances", "max_batch_size", "accelerator", "memory, estimated")
        output.print_table(columns, rows)


def _states(manifest: Manifest) -> Iterator[str]:
    """The state that Triton keeps, and what was proven of its sequences."""
    from serve_deploy.implicit_state.pairing import EVIDENCE

    proof = manifest.state
    if proof is None:
        return
    for state in proof.states:
        idle = "; no output was seen to depend on it" if state.is_idle else ""
        grows = ", and grows" if -1 in state.shape else ""
        size = [1 if size == -1 else size for size in state.shape]
        pair = f"{state.model_input} → {state.model_output}"
        yield f"state {pair} {state.data_type} {size}{grows}: {EVIDENCE[state.evidence]}{idle}"
    batches = f"side by side in batches of up to {proof.largest_batch}" if proof.largest_batch > 1 else "one by one"
    yield (
        f"sequences: {proof.sequences} of {proof.steps} requests or more, {batches}, equal the model run with its "
        "state in hand (in ONNX Runtime)"
    )
    grows = ", and more as it grows" if any(-1 in state.shape for state in proof.states) else ""
    yield f"each sequence keeps {proof.bytes_per_sequence:,} bytes{grows}"


def print_verification(manifest: Manifest, verification: Verification) -> None:
    """What Triton answered, against what; how fast it loaded, and how far the outputs differ."""
    from serve_deploy.reports.figures import format_number

    console = output.stdout()
    triton = f"Triton {verification.triton_version} ({verification.runtime})"
    responses = output.count(verification.requests, "response")
    batches = f"in batches of up to {verification.largest_batch_executed}"
    if verification.sequences:
        responses += f" in {output.count(verification.sequences, 'sequence')}"
    elif verification.distinct_samples:
        responses += f" to {output.count(verification.distinct_samples, 'sample')}"
    if verification.tensors:
        match = "matches" if verification.requests == 1 else "match"
        reference = "ONNX Runtime" if manifest.onnx_opsets else "the function itself"
        if manifest.pipeline:
            reference = "the same steps run without Triton"
        console.print(f"verified with {triton}: {responses} {match} {reference}, {batches}", markup=False)
    else:
        # A model of random outputs alone is shown to load and answer, no more.
        console.print(f"not comparable: {responses} from {triton}, {batches}", markup=False)
    wanted = find_release(manifest.triton_release).onnxruntime_version
    if verification.onnxruntime_version not in (None, wanted):
        ran = verification.onnxruntime_version
        console.print(f"ONNX Runtime {ran} ran it; Triton {manifest.triton_release} has {wanted}", markup=False)
    console.print(f"loaded in {verification.load_seconds:.2f} s, {verification.memory_bytes / 2**20:,.0f} MB of memory")
    if manifest.batching.max_batch_size > 1 and verification.largest_batch_executed <= 1:
        console.print("no batch formed: the model answered faster than requests arrived", markup=False)
    rows = [
        (
            tensor.name,
            format_number(tensor.largest_absolute_difference),
            format_number(tensor.largest_relative_difference, 2),
        )
        for tensor in verification.tensors
    ]
    if rows:
        output.print_table(("output", "max abs diff", "max rel diff"), rows)
    for name in verification.random_outputs:
        console.print(f"output '{name}' is random: its values were not compared", markup=False)
    if verification.left_out:
        console.print(f"verified without {', '.join(verification.left_out)}: not available here", markup=False)
