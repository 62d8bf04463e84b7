"""Package into a store: beside what it has of these models, and pushed when all is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from serve_deploy.errors import Interrupted
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.packaged import PackagedModel, PackageSummary
from serve_deploy.progress import Progress
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.options import SigningOptions
from serve_deploy.stores.push.pushed import PushResult
from serve_deploy.stores.working_copy import WorkingCopy, model_address, working_copy


def package_into_store(
    store: StoreAddress,
    names: Sequence[str],
    options: PackageOptions,
    package_all: Callable[[PackageOptions], PackageSummary],
    progress: Progress,
) -> PackageSummary:
    """Push what `package_all` could package; nothing where that is nothing, for a dry run, and on Ctrl-C.

    BaseChangedError where another push changed one of the models meanwhile.
    """
    with working_copy(store, names, progress, signing=options.signing) as copy:
        try:
            summary = package_all(replace(options, repository=copy.folder, signing=SigningOptions()))
        except Interrupted:
            raise Interrupted("interrupted; nothing was pushed") from None
        is_pushed = bool(summary.packaged) and not options.dry_run
        pushed = copy.push([model.name for model in summary.packaged], options.signing) if is_pushed else None
        return PackageSummary(
            tuple(_say_where(model, pushed, copy) for model in summary.packaged),
            tuple(replace(failure, error=copy.in_own_words(failure.error)) for failure in summary.failed),
            pushed,
        )


def _say_where(model: PackagedModel, pushed: PushResult | None, copy: WorkingCopy) -> PackagedModel:
    """The model with the store's address in place of the folder that is gone."""
    folder = model_address(pushed, model.name) if pushed else copy.in_own_words(str(model.folder))
    return replace(model, folder=folder, notes=tuple(map(copy.in_own_words, model.notes)))
