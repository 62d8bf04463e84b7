"""Which GPUs `--for` knows."""

from __future__ import annotations

from typing import Annotated

from serve_deploy.errors import UsageError
from serve_deploy.gpu_profiles import PROFILES
from serve_deploy.option import Option

CPU = "cpu"


def read_profiles(
    profiles: Annotated[
        str | None,
        Option(
            "Also write a configuration for each of these GPUs, or for cpu; none removes them.",
            metavar="l4,h100,cpu",
            group="Devices",
            joined=True,
        ),
    ] = None,
) -> tuple[str, ...] | None:
    """Read `l4,h100-nvl,cpu`; None where nothing is said, and no profile for `none`."""
    if profiles is None:
        return None
    names = [name.strip() for name in profiles.split(",")]
    if "" in names or ("none" in names and len(names) > 1):
        raise UsageError("`profiles` is a list of names, or `none` alone", hint=f"known: {', '.join((*PROFILES, CPU))}")
    for name in names:
        if name not in (*PROFILES, CPU) and names != ["none"]:
            raise UsageError(
                f"`profiles={name}` is not a GPU that serve knows", hint=f"known: {', '.join((*PROFILES, CPU))}"
            )
    return tuple(dict.fromkeys(names)) if names != ["none"] else ()
