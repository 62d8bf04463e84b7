"""`serve pipeline`: from a pipeline file to a verified ensemble in a model repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_cli import output, package_report
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.pipelines.options import PipelineOptions

if TYPE_CHECKING:
    from serve_deploy.pipelines.result import WrittenPipeline


@takes_options(arguments=["file"], flags={"repository": ("--output", "-o"), "release": "--triton", "graphs": "--graph"})
def pipeline(options: PipelineOptions, json: Json = False) -> None:
    """Join models and processing steps to an ensemble, and show that Triton serves it correctly.

    \b
    serve pipeline pipeline.yaml -o models
    serve pipeline pipeline.yaml -o models --graph pipeline.svg --dry-run
    """
    from serve_deploy.pipelines.pipeline import pipeline as write_pipeline

    with output.progress() as progress:
        written = write_pipeline(options, progress=progress)
    output.emit(written, as_json=json, render=print_pipeline)


def print_pipeline(written: WrittenPipeline) -> None:
    """The steps, the tensors, and the verification."""
    console, manifest = output.stdout(), written.manifest
    if written.dry_run:
        console.print(written.config, end="", markup=False)
    else:
        console.print(f"{written.folder}: ensemble of {output.count(len(written.members), 'step')}", markup=False)
        rows = [
            (
                each.step,
                each.model,
                each.made_from if each.is_new else "in the repository",
                str(each.max_batch_size) if each.max_batch_size else "no",
            )
            for each in written.members
        ]
        output.print_table(("step", "model", "from", "batches of up to"), rows)
        package_report.print_tensors(manifest)
        if manifest.verification:
            package_report.print_verification(manifest, manifest.verification)
    if written.not_verified:
        console.print(f"not verified: {output.in_flags(written.not_verified)}", markup=False)
    package_report.print_push(written.pushed)
    for note in written.notes:
        output.stderr().print(f"note: {output.in_flags(note)}", markup=False)
    for graph in written.graphs:
        output.stderr().print(f"drawn: {graph}", markup=False)
