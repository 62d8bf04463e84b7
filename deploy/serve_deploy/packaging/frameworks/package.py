"""Package a model of another framework: what its file tells is read without the framework, and nothing of it is run."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.files.copying import copy_file
from serve_deploy.files.staging import destination_errors
from serve_deploy.frameworks.artefact import Artefact, Tensor
from serve_deploy.frameworks.given_signature import CompleteSignature, complete, parse_signature
from serve_deploy.frameworks.kinds import read_artefact
from serve_deploy.frameworks.python_model import completes_config
from serve_deploy.frameworks.release_fit import check_fit
from serve_deploy.manifest import Manifest
from serve_deploy.model_config.client_tensors import client_tensors
from serve_deploy.packaging.configuration.manifest import describe_version
from serve_deploy.packaging.configuration.plan import ConfigPlan, plan_config
from serve_deploy.packaging.findings import Findings, keep_samples
from serve_deploy.packaging.frameworks.plan import (
    decide_batching,
    describe_backend,
    describe_framework,
    on_devices,
    require_framework_options,
)
from serve_deploy.packaging.frameworks.verification import NotVerified, ask_model_for_config, verify_load
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.packaged import PackagedModel
from serve_deploy.packaging.versions.destination import look_at_destination
from serve_deploy.packaging.versions.heritage import Heritage, inherit
from serve_deploy.progress import Progress
from serve_deploy.releases import DEFAULT_RELEASE, find_release
from serve_deploy.repository.model_repository import (
    check_policy,
    choose_version,
    commit_version,
    digest_files,
    hash_file,
    require_same_tensors,
    staged_model,
    write_shared,
)


@dataclass(frozen=True)
class _Subject:
    """The artefact with its tensors, and for which name, version and release it is packaged."""

    artefact: Artefact
    tensors: CompleteSignature
    name: str
    version: int
    release: str


def package_framework_model(source: Path, name: str, options: PackageOptions, progress: Progress) -> PackagedModel:
    """Package one model file or folder; on any error, and on Ctrl-C, the repository is as it was before."""
    destination, existing = look_at_destination(name, options.folder)
    version = choose_version(existing, options.version, force=options.force)
    heritage = inherit(options, version, existing)
    options, release = heritage.options, find_release(heritage.options.release or DEFAULT_RELEASE).name
    with heritage.explained():
        notes = () if heritage.newer else check_policy(options.config.version_policy, version, existing)
        progress(f"reading {source.name}")
        artefact = read_artefact(source, options.framework.named_parameters)
        require_framework_options(artefact, options)
        _require_same_file(artefact, heritage)
        notes += check_fit(artefact, release)
        artefact = _ask_python_model(artefact, options, progress)
        given = parse_signature(options.framework.signature) if options.framework.signature else None
        subject = _Subject(artefact, complete(artefact, given), name, version, release)
        options = replace(options, config=on_devices(artefact, options.config))
        findings = _find(subject, options)
        plan = plan_config(name, findings, options, heritage)
        require_same_tensors(plan.config, version, existing, force=options.force)
        manifest = _describe(subject, findings, plan, options)
        with nullcontext() if options.dry_run else staged_model(options.folder, name) as folder:
            if folder is not None:
                progress(f"writing {name}")
                _place(folder, version, artefact)
                write_shared(folder, plan.files)
                manifest = _verify(folder, subject, findings, plan, manifest, options, progress)
                manifest = manifest.model_copy(update={"files": digest_files(folder)})
                manifest = commit_version(folder, destination, existing, manifest)
    notes += (*plan.notes, *artefact.notes)
    unverified = manifest.framework.not_verified if manifest.framework else ""
    return PackagedModel(
        name, version, source, destination, options.dry_run, plan.text, manifest, notes, not_verified=unverified
    )


def _require_same_file(artefact: Artefact, heritage: Heritage) -> None:
    """DestinationError where the configuration that an older version joins is for another kind of file."""
    newer = heritage.newer
    if newer and newer.file_name not in {name.split("/")[0] for name in artefact.files}:
        raise DestinationError(
            f"version {heritage.version} would be a {next(iter(artefact.files))}, and the configuration of version"
            f" {max(newer.versions)}, which all versions share, is for a {newer.file_name}",
            hint="choose another `name`",
        )


def _ask_python_model(artefact: Artefact, options: PackageOptions, progress: Progress) -> Artefact:
    """A Python model with the tensors that its own code tells, where nothing else does and Triton may run it."""
    told = artefact.inputs is not None and artefact.outputs is not None
    if told or options.framework.signature or not options.verify or not completes_config(artefact):
        return artefact
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "repository" / "asked"
        model.mkdir(parents=True)
        _place(model, 1, artefact)
        config = ask_model_for_config(model, artefact, options.runtime, progress)
    sides = {
        kind: tuple(Tensor(each.name, each.data_type, each.shape) for each in client_tensors(config, kind)) or None
        for kind in ("input", "output")
    }
    return replace(
        artefact,
        inputs=sides["input"],
        outputs=sides["output"],
        max_batch_size=int(config.max_batch_size),
        tensors_from="auto_complete_config, which was run",
    )


def _find(subject: _Subject, options: PackageOptions) -> Findings:
    from serve_deploy.samples.files import read_samples

    artefact, signature = subject.artefact, subject.tensors.signature
    batching = decide_batching(artefact, signature, options.max_batch_size)
    samples = (
        keep_samples(read_samples(options.samples, signature, split=batching.max_batch_size > 0))
        if options.samples
        else ()
    )
    backend = describe_backend(artefact, subject.tensors, batching, options)
    return Findings(signature=signature, batching=batching, samples=samples, backend=backend)


def _describe(subject: _Subject, findings: Findings, plan: ConfigPlan, options: PackageOptions) -> Manifest:
    source, framework = subject.artefact.source, describe_framework(subject.artefact, subject.tensors, "`verify=False`")
    return describe_version(
        plan,
        findings,
        version=subject.version,
        release=subject.release,
        source_name=source.name,
        source_sha256=hash_file(source),
    ).model_copy(update={"framework": framework, "origin": options.origin})


def _place(folder: Path, version: int, artefact: Artefact) -> None:
    """Copy the artefact's files under the names that its backend looks for."""
    wanted = {f"{version}/{name}": file for name, file in artefact.files.items()} | dict(artefact.shared_files)
    with destination_errors(folder):
        for name, file in wanted.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_file(file, target)


def _verify(
    folder: Path,
    subject: _Subject,
    findings: Findings,
    plan: ConfigPlan,
    manifest: Manifest,
    options: PackageOptions,
    progress: Progress,
) -> Manifest:
    if not options.verify:
        return manifest
    try:
        verification = verify_load(folder, subject.artefact.backend, findings, plan.config, options, progress)
        reason = ""
    except NotVerified as missing:
        if options.runtime is not None:
            raise UsageError(
                f"`runtime={options.runtime}` cannot verify {subject.name}: {missing.reason}",
                hint="leave it out to package without verification",
            ) from missing
        verification, reason = None, missing.reason
    framework = describe_framework(subject.artefact, subject.tensors, reason)
    return manifest.model_copy(update={"verification": verification, "framework": framework})
