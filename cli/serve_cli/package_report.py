"""What `serve package` shows a person: each derived number and why, the proof, and the verification."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from serve_cli import output
from serve_deploy.errors import ServeError

if TYPE_CHECKING:
    from serve_deploy.manifest import Manifest, Verification
    from serve_deploy.packaging.pipeline import PackagedModel, PackageSummary
    from serve_deploy.tensors.types import TensorSpec


def print_summary(summary: PackageSummary) -> None:
    """Every model that was packaged; with several, a table of all at the end."""
    for model in summary.packaged:
        _print_dry_run(model) if model.dry_run else _print_model(model)
    if len(summary.packaged) + len(summary.failed) > 1:
        packaged = [
            (model.name, model.version, "not written" if model.dry_run else "packaged", model.folder)
            for model in summary.packaged
        ]
        failed = [(model.source.name, "", "failed", model.error) for model in summary.failed]
        output.print_table(("model", "version", "result", ""), [*packaged, *failed])


def conclude(summary: PackageSummary) -> None:
    """Print the failures, and end with the exit code of the first."""
    several = len(summary.packaged) + len(summary.failed) > 1
    for failure in summary.failed:
        # With several models each line has to say which one it is about.
        unnamed = several and failure.source.name not in failure.error
        message = f"{failure.source.name}: {failure.error}" if unnamed else failure.error
        output.print_error(ServeError(message, hint=failure.hint))
    if summary.failed:
        raise typer.Exit(summary.failed[0].exit_code)


def _print_dry_run(model: PackagedModel) -> None:
    output.stdout().print(model.config, end="", markup=False)
    _print_notes(model)


def _print_notes(model: PackagedModel) -> None:
    for note in (*model.manifest.fixes, *model.notes):
        output.stderr().print(f"note: {note}", markup=False)


def _print_model(model: PackagedModel) -> None:
    manifest = model.manifest
    console = output.stdout()
    console.print(f"{model.folder}: version {model.version} of {manifest.source_name}", markup=False)
    output.print_table(
        ("tensor", "type", "shape"), [*_rows("input", manifest.inputs), *_rows("output", manifest.outputs)]
    )
    for line in _facts(manifest):
        console.print(line, markup=False)
    if manifest.verification:
        _print_verification(manifest, manifest.verification)
    else:
        console.print("not verified: --no-verify", markup=False)
    _print_notes(model)


def _rows(kind: str, tensors: tuple[TensorSpec, ...]) -> list[tuple[str, str, str]]:
    return [
        (
            f"{kind} {tensor.name}" + (" (optional)" if tensor.optional else ""),
            tensor.data_type.value,
            str(list(tensor.shape)),
        )
        for tensor in tensors
    ]


def _facts(manifest: Manifest) -> list[str]:
    batching = manifest.batching
    opsets = ", ".join(f"{domain} {version}" for domain, version in manifest.onnx_opsets.items())
    return [
        f"max_batch_size {batching.max_batch_size}: {batching.verdict.replace('_', ' ')}: {batching.evidence}",
        f"Triton {manifest.triton_release} accepts it: IR {manifest.onnx_ir_version}, opset {opsets}",
        f"{manifest.samples} samples, up to {manifest.sample_bytes} bytes each",
    ]


def _print_verification(manifest: Manifest, verification: Verification) -> None:
    console = output.stdout()
    # A model of random outputs alone is shown to load and answer, no more.
    verdict, like = ("verified", " as ONNX Runtime does") if verification.tensors else ("not comparable", "")
    console.print(
        f"{verdict}: Triton {verification.triton_version} ({verification.runtime}) answered {verification.requests} "
        f"requests{like}, in batches of up to {verification.largest_batch_executed}; "
        f"loaded in {verification.load_seconds:.2f} s, {verification.memory_bytes / 2**20:.0f} MB",
        markup=False,
    )
    if manifest.batching.max_batch_size > 1 and verification.largest_batch_executed <= 1:
        console.print("no batch formed: the model answered faster than requests came", markup=False)
    rows = [
        (tensor.name, f"{tensor.largest_absolute_difference:.3g}", f"{tensor.largest_relative_difference:.1e}")
        for tensor in verification.tensors
    ]
    if rows:
        output.print_table(("output", "largest difference", "of its magnitude"), rows)
    for name in verification.random_outputs:
        console.print(f"{name!r} is random, so that its values were not compared", markup=False)
    if verification.left_out:
        console.print(f"verified without {', '.join(verification.left_out)}, which this machine lacks", markup=False)
