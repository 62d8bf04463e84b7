"""Package a model that a registry or a hub names: fetched, and then packaged as the file or folder that it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from serve_deploy.errors import UsageError
from serve_deploy.model_sources.addresses import HubAddress, SourceAddress
from serve_deploy.model_sources.fetched import called
from serve_deploy.model_sources.fetching import fetched
from serve_deploy.origin import Origin
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.packaged import PackagedModel
from serve_deploy.progress import Progress

PackageFile = Callable[[Path, PackageOptions], PackagedModel]


def package_fetched_model(
    address: SourceAddress, options: PackageOptions, package_file: PackageFile, progress: Progress
) -> PackagedModel:
    """Fetch the model and package it; its samples and tensors are the source's where the user gave none."""
    if options.backend != "onnxruntime":
        packaged = _package_checkpoint(address, options, package_file)
        return replace(packaged, source=str(address))
    with fetched(address, progress) as found, called(address, found.path):
        given = options.framework.signature or found.signature
        packaged = package_file(
            found.path,
            replace(
                options,
                samples=options.samples or found.samples,
                framework=replace(options.framework, signature=given),
                origin=found.origin,
            ),
        )
    return replace(packaged, source=str(address), notes=(*found.notes, *packaged.notes))


def _package_checkpoint(address: SourceAddress, options: PackageOptions, package_file: PackageFile) -> PackagedModel:
    """The weights of a language model are fetched by the server, which is told the commit."""
    if not isinstance(address, HubAddress) or address.path:
        raise UsageError(
            f"{address} is no checkpoint for `backend={options.backend}`", hint="give hf://ORG/MODEL, or a folder"
        )
    from serve_deploy.model_sources.hub import pin_commit

    commit = pin_commit(address)
    origin = Origin(asked=str(address), pinned=str(replace(address, revision=commit)), version=commit)
    return package_file(Path(address.repository), replace(options, origin=origin))
