"""From a typed function file to a verified version in a model repository."""

from __future__ import annotations

import hashlib
import re
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path

from serve_deploy.errors import UsageError
from serve_deploy.manifest import Verification
from serve_deploy.model_config import CONFIG_NAME, format_config
from serve_deploy.option import changed_fields
from serve_deploy.packaging.configuration.manifest import describe_version
from serve_deploy.packaging.configuration.plan import ConfigPlan, plan_config
from serve_deploy.packaging.findings import Findings
from serve_deploy.packaging.functions.analysis import analyse_function
from serve_deploy.packaging.options import ONNX_RUNTIME_ONLY, PackageOptions
from serve_deploy.packaging.packaged import PackagedModel
from serve_deploy.packaging.versions.destination import look_at_destination
from serve_deploy.packaging.versions.heritage import inherit
from serve_deploy.progress import Progress
from serve_deploy.python_models.config import on_python
from serve_deploy.python_models.function_file import read_function_file
from serve_deploy.python_models.model import PythonModel
from serve_deploy.releases import DEFAULT_RELEASE
from serve_deploy.repository.model_repository import (
    check_policy,
    choose_version,
    commit_version,
    digest_files,
    require_same_tensors,
    staged_model,
    write_shared,
)

_SOURCE = re.compile(r"(?P<file>.+\.py)(?::(?P<function>\w+))?")
_TRITONS_OWN = re.compile(r"^class\s+TritonPythonModel\b", re.MULTILINE)
_OF_ONNX = ("fix", "labels", "profiles", "engine_cache", "sequences")
# A packed Python for the function, which the embedded Triton has not: it runs on this one.
_ENVIRONMENT = "EXECUTION_ENV_PATH"


def is_function_file(source: Path, _options: PackageOptions) -> bool:
    """Whether a source is `post.py` or `post.py:function`, and not a model that is written for Triton already."""
    match = _SOURCE.fullmatch(str(source))
    if match is None:
        return False
    file = Path(match["file"])
    if match["function"] or not file.is_file():
        return not file.is_dir()
    return not _TRITONS_OWN.search(file.read_text(encoding="utf-8", errors="replace"))


def package_python_function(source: Path, name: str, options: PackageOptions, progress: Progress) -> PackagedModel:
    """Package one function; on any error, and on Ctrl-C, the repository is as it was before."""
    match = _SOURCE.fullmatch(str(source))
    file, function = (Path(match["file"]), match["function"]) if match else (source, None)
    progress(f"reading {source.name}")
    return package_python_model(read_function_file(file, function), source, name, options, progress)


def package_python_model(
    model: PythonModel, source: Path, name: str, options: PackageOptions, progress: Progress
) -> PackagedModel:
    """Package a function or a standard step that is read already; `source` is what the result says it comes from."""
    _require_applicable(options)
    destination, existing = look_at_destination(name, options.folder)
    version = choose_version(existing, options.version, force=options.force)
    heritage = inherit(options, version, existing)
    options = heritage.options
    with heritage.explained():
        notes = () if heritage.newer else check_policy(options.config.version_policy, version, existing)
        findings = analyse_function(model, options, progress)
        options = replace(options, config=on_python(options.config))
        plan = plan_config(name, findings, options, heritage)
        require_same_tensors(plan.config, version, existing, force=options.force)
        manifest = describe_version(
            plan,
            findings,
            version=version,
            release=options.release or DEFAULT_RELEASE,
            source_name=model.source,
            source_sha256=_hash_files(model),
        ).model_copy(update={"requirements": model.requirements})
        with nullcontext() if options.dry_run else staged_model(options.folder, name) as folder:
            if folder is not None:
                progress(f"writing {name}")
                files = {f"{version}/{path.partition('/')[2]}": content for path, content in model.files.items()}
                write_shared(folder, {**files, **plan.files})
                verification = _verify(folder, plan, model, findings, options, progress) if options.verify else None
                manifest = manifest.model_copy(update={"files": digest_files(folder), "verification": verification})
                manifest = commit_version(folder, destination, existing, manifest)
    notes += (*plan.notes, *manifest.model_copy(update={"other_versions": ()}).needs)
    unverified = "" if options.verify else "`verify=False`"
    return PackagedModel(
        name, version, source, destination, options.dry_run, plan.text, manifest, notes, not_verified=unverified
    )


def _require_applicable(options: PackageOptions) -> None:
    given = next(
        chain(
            changed_fields(options, _OF_ONNX),
            changed_fields(options.config, ONNX_RUNTIME_ONLY),
            changed_fields(options.framework, ("signature",)),
        ),
        None,
    )
    if given:
        raise UsageError(f"`{given}` has no meaning for a Python function", hint="leave it out")


def _verify(
    folder: Path,
    plan: ConfigPlan,
    model: PythonModel,
    findings: Findings,
    options: PackageOptions,
    progress: Progress,
) -> Verification:
    from serve_deploy.packaging.verification.verify import Subject, verify_model

    left_out: tuple[str, ...] = ()
    config = type(plan.config)()
    config.CopyFrom(plan.config)
    if options.runtime in (None, "embedded") and _ENVIRONMENT in config.parameters:
        del config.parameters[_ENVIRONMENT]
        left_out = (_ENVIRONMENT,)
        write_shared(folder, {CONFIG_NAME: format_config(config, {}).encode()})
    subject = Subject(
        repository=folder.parent,
        name=folder.name,
        signature=findings.signature,
        max_batch_size=findings.batching.max_batch_size,
        samples=findings.samples,
        run=lambda sample: dict(model.run(sample)),
        reference="the function itself",
        cuts_strings=False,
    )
    verification = verify_model(subject, runtime=options.runtime, progress=progress)
    write_shared(folder, plan.files)
    return verification.model_copy(update={"left_out": left_out})


def _hash_files(model: PythonModel) -> str:
    """The sha256 of all its files: what a function imports from beside it is its source, too."""
    content = (part for path in sorted(model.files) for part in (path.encode(), b"\0", model.files[path]))
    return hashlib.sha256(b"".join(content)).hexdigest()
