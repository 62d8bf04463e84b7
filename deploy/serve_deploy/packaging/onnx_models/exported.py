"""From a model in Python code to a verified version in a model repository, by way of ONNX."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from serve_deploy.errors import UsageError
from serve_deploy.exporters.python_object import ObjectName, is_function_of_arrays, load_object, parse_object_name
from serve_deploy.files.temporary import make_temporary, remove_temporary
from serve_deploy.manifest import Export
from serve_deploy.packaging.onnx_models.package import package_onnx_model
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.packaged import PackagedModel
from serve_deploy.progress import Progress


def find_python_object(source: Path, options: PackageOptions) -> ObjectName | None:
    """The model in Python code that a source names, as net.py:model does; None for any other, as for a function."""
    found = parse_object_name(str(source)) if options.backend == "onnxruntime" else None
    return None if found is None or is_function_of_arrays(found) else found


def package_exported_model(source: Path, name: str, options: PackageOptions, progress: Progress) -> PackagedModel:
    """Run the code, export the model that it names, compare the export with it, and package that.

    InvalidModelError where the code fails or the model cannot be exported, VerificationError where the export answers
    otherwise; on any error the repository is as it was before.
    """
    from serve_deploy.exporters.export import export_known, recognise, require_samples
    from serve_deploy.samples.files import read_arrays

    found = find_python_object(source, options)
    if found is None:
        raise UsageError(f"{source} names no model in Python code", hint="write it as FILE.py:NAME")
    progress(f"running {found.module}")
    model = recognise(load_object(found), str(source))
    path = require_samples(options.samples, model)
    names = model.required_names if path.suffix == ".npy" else model.input_names
    folder = make_temporary("export")
    try:
        progress(f"exporting {source} to ONNX")
        exported = export_known(model, read_arrays(path, names), folder / f"{name}.onnx")
        agreement = exported.agreement
        record = Export(
            source=str(source),
            framework=exported.framework,
            framework_version=exported.framework_version,
            exporter=exported.exporter,
            batch_sizes=agreement.batch_sizes,
            tensors=agreement.tensors,
            random_outputs=agreement.random_outputs,
        )
        # The samples have the state, too, which the packaged model keeps to itself.
        samples = None if options.sequences.stateful else options.samples
        packaged = package_onnx_model(exported.file, name, replace(options, samples=samples), progress, export=record)
    finally:
        remove_temporary(folder)
    return replace(packaged, source=source, notes=(*exported.notes, *packaged.notes))
