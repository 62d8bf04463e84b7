"""From model files to models in a repository: each source goes to what packages its kind."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from serve_deploy.errors import Interrupted, InvalidModelError, ServeError, UsageError
from serve_deploy.exporters.python_object import parse_object_name
from serve_deploy.files.staging import recover
from serve_deploy.files.temporary import remove_abandoned
from serve_deploy.frameworks.kinds import find_kind
from serve_deploy.model_sources.addresses import SourceAddress, parse_source
from serve_deploy.packaging.frameworks.package import package_framework_model
from serve_deploy.packaging.functions.package import is_function_file, package_python_function
from serve_deploy.packaging.language_models.package import package_language_model, require_applicable
from serve_deploy.packaging.onnx_models.exported import find_python_object, package_exported_model
from serve_deploy.packaging.onnx_models.package import package_onnx_model
from serve_deploy.packaging.options import FrameworkOptions, PackageOptions
from serve_deploy.packaging.packaged import FailedModel, PackagedModel, PackageSummary
from serve_deploy.packaging.stored import package_into_store
from serve_deploy.progress import Progress, silent
from serve_deploy.repository.model_repository import default_model_name
from serve_deploy.stores.address import StoreAddress

Located = Path | SourceAddress
Packager = Callable[[Path, str, PackageOptions, Progress], PackagedModel]
# What is parsed in well under a second, and so twice where a store is asked in between.
_QUICKLY_READ_BYTES = 256 << 20


def package(sources: Sequence[Path | str], options: PackageOptions, *, progress: Progress = silent) -> PackageSummary:
    """Package each model by itself; UsageError where two of them would have the same name.

    A source is a path, or an address such as models:/digits@champion or hf://org/model. Into a store, all that could be
    packaged are pushed together at the end.
    """
    require_applicable(options, several=len(sources) > 1)
    remove_abandoned(Path(tempfile.gettempdir()))
    located = [_locate(source) for source in sources]
    names = _choose_names(located, options)
    if not isinstance(options.repository, StoreAddress):
        return _package_all(located, options, progress)
    unusable = [failed for source in located if (failed := _find_unusable(source, options))]
    if len(unusable) == len(located):
        # A store that does not answer is tried for a minute, and would be named in place of these.
        return PackageSummary((), tuple(unusable))
    return package_into_store(
        options.repository, names, options, lambda own: _package_all(located, own, progress), progress
    )


def _choose_names(sources: Sequence[Located], options: PackageOptions) -> Sequence[str]:
    names = [_choose_name(source, options) for source in sources]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise UsageError(
                f"{sources[names.index(name)]} and {sources[index]} would both be the model '{name}'",
                hint="package them one by one, each with a `name`"
                if options.name is None
                else "`name` is for a single model",
            )
    return names


def _find_unusable(source: Located, options: PackageOptions) -> FailedModel | None:
    """Why a source cannot be packaged that is a file of this machine: not there, or no ONNX at a quick look."""
    if not isinstance(source, Path) or _is_language_model(source, options):
        return None
    named = parse_object_name(str(source))
    path = Path(named.module) if named else source
    if named and not named.is_file:
        return None
    if not path.exists():
        hint = "check the path of the model file"
        return FailedModel(source, f"{path} does not exist", hint, InvalidModelError.exit_code)
    try:
        if path.is_file() and path.stat().st_size <= _QUICKLY_READ_BYTES:
            _require_onnx(source, options)
    except InvalidModelError as error:
        return FailedModel(source, error.message, error.hint, error.exit_code)
    return None


def _require_onnx(source: Path, options: PackageOptions) -> None:
    """InvalidModelError where a file would be packaged as ONNX and is damaged, or something else."""
    if _choose_packager(source, options) is package_onnx_model:
        from serve_deploy.onnx.model import parse_proto

        parse_proto(source)


def _package_all(sources: Sequence[Located], options: PackageOptions, progress: Progress) -> PackageSummary:
    packaged, failed = [], []
    for source in sources:
        try:
            packaged.append(package_model(source, options, progress=progress))
        except ServeError as error:
            failed.append(
                FailedModel(
                    source if isinstance(source, Path) else str(source), error.message, error.hint, error.exit_code
                )
            )
        except KeyboardInterrupt:
            if not packaged:
                raise
            raise Interrupted(
                f"interrupted; packaged before that: {', '.join(model.name for model in packaged)}"
            ) from None
    return PackageSummary(tuple(packaged), tuple(failed))


def package_model(source: Located, options: PackageOptions, *, progress: Progress = silent) -> PackagedModel:
    """Package one model; on any error, and on Ctrl-C, the repository is as it was before."""
    recover(options.folder)
    name = _choose_name(source, options)
    if isinstance(source, Path):
        return _package_file(source, name, options, progress)
    from serve_deploy.packaging.fetched_model import package_fetched_model

    return package_fetched_model(
        source, options, lambda file, options: _package_file(file, name, options, progress), progress
    )


def _locate(source: Path | str) -> Located:
    address = parse_source(source) if isinstance(source, str) else None
    return Path(source) if address is None else address


def _package_file(source: Path, name: str, options: PackageOptions, progress: Progress) -> PackagedModel:
    if source.exists() and not source.is_file() and not source.is_dir():
        raise InvalidModelError(f"{source} is neither a file nor a folder", hint="save what it gives to a file first")
    packager = _choose_packager(source, options)
    if options.sequences.stateful and packager not in (package_onnx_model, package_exported_model):
        raise UsageError("`stateful` is for ONNX models", hint="leave it out")
    if options.framework != FrameworkOptions() and packager not in (package_framework_model, package_python_function):
        name = "signature" if options.framework.signature else "parameters"
        raise UsageError(f"`{name}` is for files of other frameworks, and {source} is none", hint="leave it out")
    return packager(source, name, options, progress)


def _choose_packager(source: Path, options: PackageOptions) -> Packager:
    return next(packager for takes, packager in _KINDS if takes(source, options))


def _is_language_model(_source: Path, options: PackageOptions) -> bool:
    return options.backend != "onnxruntime"


def _is_of_another_framework(source: Path, _options: PackageOptions) -> bool:
    return find_kind(source) is not None


def _is_anything(_source: Path, _options: PackageOptions) -> bool:
    return True


# The first that takes a source packages it.
_KINDS: tuple[tuple[Callable[[Path, PackageOptions], bool], Packager], ...] = (
    (_is_language_model, package_language_model),
    (lambda source, options: find_python_object(source, options) is not None, package_exported_model),
    (is_function_file, package_python_function),
    (_is_of_another_framework, package_framework_model),
    (_is_anything, package_onnx_model),
)


def _choose_name(source: Located, options: PackageOptions) -> str:
    if options.name is not None:
        return options.name
    if not isinstance(source, Path):
        return default_model_name(Path(f"{source.model_name}.-"))
    if (found := find_python_object(source, options)) is not None:
        return default_model_name(Path(found.file_name))
    if source.name == "saved_model.pb":
        source = source.parent
    # A folder's or a hub ID's name has no ending: the dot in Llama-3.1-8B is one of its own.
    whole = Path(f"{source.resolve().name.removesuffix('.savedmodel') if source.is_dir() else source.name}.-")
    return default_model_name(whole if source.is_dir() or _is_language_model(source, options) else source)
