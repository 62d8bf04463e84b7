"""What a version may be beside the versions that a model has already."""

from __future__ import annotations

from typing import Any

from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.model_config import CONFIG_NAME, VersionPolicy, parse_config
from serve_deploy.repository.model_repository import ExistingModel


def check_policy(policy: VersionPolicy | None, version: int, existing: ExistingModel | None) -> tuple[str, ...]:
    """A note where the version would not be served for now; UsageError where it never would."""
    others = existing.versions if existing else ()
    if policy and policy.specific and version not in policy.specific:
        raise UsageError(
            f"--version-policy would never serve version {version}",
            hint=f"add it: --version-policy specific:{','.join(map(str, sorted({*policy.specific, version})))}",
        )
    newest = max((*others, version))
    served = policy.serves(version, others) if policy else version == newest
    return () if served else (f"version {version} is written but not served: version {newest} is newer",)


def require_same_tensors(config: Any, version: int, existing: ExistingModel | None, *, force: bool) -> None:
    """DestinationError where other tensors would break the other versions: all share one configuration."""
    others = [other for other in existing.versions if other != version] if existing else []
    if not existing or not others or existing.config_text is None or force:
        return
    old = parse_config(existing.config_text, existing.folder / CONFIG_NAME)
    for kind in ("input", "output"):
        tensors = [
            {(tensor.name, tensor.data_type, tuple(tensor.dims)) for tensor in getattr(written, kind)}
            for written in (old, config)
        ]
        if tensors[0] != tensors[1]:
            raise DestinationError(
                f"version {version} of {config.name} has other {kind}s than version {max(others)}, "
                "and all versions share one configuration",
                hint="give it another --name, or use --force if the old versions are not served any more",
            )
