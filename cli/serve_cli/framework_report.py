"""What `serve package` shows of a model of another framework: what was read, what was given, and the load."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from serve_cli import output
from serve_cli.batching_report import describe_batching

if TYPE_CHECKING:
    from serve_deploy.manifest import FrameworkModel, Manifest


def print_framework(manifest: Manifest, *, verbose: bool) -> None:
    """What was read, given and loaded of a packaged model of another framework."""
    for line in _facts(manifest, verbose):
        output.stdout().print(line, markup=False)
    if manifest.framework:
        _print_load(manifest, manifest.framework)


def _facts(manifest: Manifest, verbose: bool) -> Iterator[str]:
    framework = manifest.framework
    if framework is None:
        return
    version = f" {framework.version}" if framework.version else ""
    yield f"{framework.framework}{version}, for the {framework.backend} backend of Triton {manifest.triton_release}"
    for fact in framework.facts:
        value = "not known" if fact.value is None else fact.value
        yield f"{fact.name.replace('_', ' ')}: {value}" + (f" ({fact.reason})" if verbose or fact.value is None else "")
    yield f"tensors: {_tell_origin(manifest, framework)}"
    for given in framework.given:
        yield f"given: {given}"
    yield from describe_batching(manifest.batching)


def _tell_origin(manifest: Manifest, framework: FrameworkModel) -> str:
    whole = [given for given in framework.given if given.startswith("name, type, shape of ")]
    if len(whole) == len(manifest.inputs) + len(manifest.outputs):
        return "given, all of them"
    return f"read from {framework.tensors_from}" + (", but for what was given" if framework.given else "")


def _print_load(manifest: Manifest, framework: FrameworkModel) -> None:
    console, verification = output.stdout(), manifest.verification
    if verification is None:
        console.print(f"not verified: {output.in_flags(framework.not_verified)}", markup=False)
        return
    triton = f"Triton {verification.triton_version} ({verification.runtime})"
    memory = f"{verification.memory_bytes / 2**20:,.0f} MB of memory"
    console.print(f"loaded by {triton} in {verification.load_seconds:.2f} s, {memory}", markup=False)
    if not verification.requests:
        console.print(f"not asked: {output.in_flags('`samples` gives it inputs to answer')}", markup=False)
        return
    answers = output.count(verification.requests, "answer")
    console.print(
        f"{answers} of the configured types and shapes, in batches of up to {verification.largest_batch_executed}; "
        f"not compared with {framework.framework}'s own",
        markup=False,
    )
