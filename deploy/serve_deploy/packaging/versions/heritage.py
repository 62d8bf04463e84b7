"""What a version takes over from those that are there.

The newest takes the settings, and writes configuration, labels, warm-up and samples anew for all. An older one takes
these four as they are: packaging it changes nothing of what is served.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.versions.settings import (
    Settings,
    apply_settings,
    describe_settings,
    given_settings,
    kept_settings,
)
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.repository.model_repository import is_older


@dataclass(frozen=True)
class Heritage:
    """The version, the options with what is kept, what was given, and what is there.

    `newer` is the model's folder where it has a newer version, which this one joins.
    """

    version: int
    options: PackageOptions
    existing: ModelFolder | None = None
    newer: ModelFolder | None = None
    given: Settings = field(default_factory=dict)
    kept: Settings = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """What the manifest records of this version."""
        return {} if self.newer else {**self.given, **self.kept}

    @contextmanager
    def explained(self) -> Iterator[None]:
        """An error in the use of options says which of them are only kept."""
        try:
            yield
        except UsageError as error:
            if not self.kept:
                raise
            kept = f"kept from before: {describe_settings(self.kept)}; `keep_settings=False` starts from the defaults"
            raise type(error)(error.message, hint=f"{error.hint}; {kept}" if error.hint else kept) from error


def inherit(options: PackageOptions, version: int, existing: ModelFolder | None) -> Heritage:
    """Decide what a version takes over; DestinationError where an older one is given settings of its own."""
    given = given_settings(options)
    if existing and is_older(version, existing):
        return Heritage(version, _join(options, given, existing), existing, newer=existing, given=given)
    kept = kept_settings(options, existing.manifest if existing else None)
    return Heritage(version, apply_settings(options, kept), existing, given=given, kept=kept)


def _join(options: PackageOptions, given: Settings, newer: ModelFolder) -> PackageOptions:
    """Options that prove an older version at the batch size that is configured."""
    manifest, newest = newer.manifest, max(newer.versions)
    there = {**(manifest.settings if manifest else {}), "max_batch_size": newer.max_batch_size, "labels": False}
    changed = {name: value for name, value in given.items() if name != "release" and there.get(name) != value}
    if changed:
        raise DestinationError(
            f"{describe_settings(changed)} would change the configuration of version {newest}, shared by all versions",
            hint=f"leave it out, or package version {newest} with it",
        )
    release = options.release or (manifest.triton_release if manifest else None)
    # The state that Triton keeps is part of the shared configuration.
    kept = {name: value for name, value in (manifest.settings if manifest else {}).items() if name == "stateful"}
    return replace(apply_settings(options, kept), max_batch_size=newer.max_batch_size, release=release)
