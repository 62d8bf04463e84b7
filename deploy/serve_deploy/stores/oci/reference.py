"""Which image of which registry an address means."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace

from serve_deploy.errors import UsageError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.oci.namings import is_record

_DEFAULT_TAG = "latest"
_SNAPSHOT_TAG = "snapshot-"
# What docker calls its hub, and where its registry answers.
_HUB = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}


@dataclass(frozen=True)
class ImageReference:
    """A registry such as registry.example:5000, a repository such as team/models, and a tag or digest."""

    registry: str
    repository: str
    version: str

    @property
    def is_digest(self) -> bool:
        """Whether it names one content, and not what a tag points to now."""
        return ":" in self.version

    @property
    def api_host(self) -> str:
        """Where the registry's API answers."""
        return _HUB.get(self.registry, self.registry)

    @property
    def api_repository(self) -> str:
        """What the registry's API calls the repository: the hub's official ones are below library/."""
        return self.repository if self.registry not in _HUB or "/" in self.repository else f"library/{self.repository}"

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this machine."""
        host = self.registry.rpartition(":")[0] if self.registry.rpartition(":")[2].isdigit() else self.registry
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host.strip("[]")).is_loopback
        except ValueError:
            return False

    def at(self, version: str) -> ImageReference:
        """Another tag or digest of the same repository."""
        return replace(self, version=version)

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}{'@' if self.is_digest else ':'}{self.version}"


def read_reference(address: StoreAddress) -> ImageReference:
    """The image that an oci:// address names; without a tag that is `latest`, as for docker."""
    registry, _, repository = address.location.partition("/")
    return ImageReference(registry, repository, address.snapshot or _DEFAULT_TAG)


def writable_reference(address: StoreAddress) -> ImageReference:
    """The same, of an address to push to; UsageError where it is a digest, or a snapshot's tag, which never moves."""
    reference = read_reference(address)
    if reference.is_digest:
        raise UsageError(
            f"{address} names a digest, and a push makes its own", hint=f"push to a tag: oci://{address.location}:v1"
        )
    if tagged_snapshot(reference.version) is not None:
        raise UsageError(
            f"{address} names a snapshot, which never changes", hint=f"push to another tag: oci://{address.location}:v1"
        )
    if is_record(reference.version):
        raise UsageError(
            f"{address} records when a snapshot was named", hint=f"push to another tag: oci://{address.location}:v1"
        )
    return reference


def snapshot_tag(identity: str) -> str:
    """The tag that keeps a snapshot: registries may clean up images without one."""
    return f"{_SNAPSHOT_TAG}{identity}"


def tagged_snapshot(tag: str) -> str | None:
    """The snapshot's id that such a tag is for."""
    return tag.removeprefix(_SNAPSHOT_TAG) if tag.startswith(_SNAPSHOT_TAG) else None


def referrers_tag(digest: str) -> str:
    """The distribution specification's tag for what refers to a manifest, where a registry has no list of that."""
    return digest.replace(":", "-", 1)
