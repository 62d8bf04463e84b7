"""GPU profiles: what is asked for where."""

from __future__ import annotations

import re

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.gpu_profiles import CLOUDS, PROFILES, find_profile, profiles_document


@pytest.mark.parametrize("name", PROFILES)
def test_profile_is_complete(name: str) -> None:
    """Every GPU has NVIDIA's product names, memory, and slices that fit into one GPU."""
    profile = PROFILES[name]
    assert profile.products
    assert 0.85 * profile.memory_gb < profile.usable_gib < 1.01 * profile.memory_gb
    assert all(re.fullmatch(r"(Tesla|NVIDIA)-[A-Za-z0-9-]+", product) for product in profile.products)
    for slice_name, count in profile.mig.items():
        compute, memory = map(int, re.findall(r"(\d+)g", slice_name))
        assert compute * count <= 7
        assert memory * count <= profile.memory_gb * 1.05


def test_the_keynotes_platforms_are_there() -> None:
    """L4, L40, H100 NVL and Grace Hopper, the last of them on arm64."""
    assert {"l4", "l40", "h100-nvl", "gh200"} <= set(PROFILES)
    assert [name for name, profile in PROFILES.items() if profile.architecture == "arm64"] == ["gh200"]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ({"name": "v100"}, "unknown GPU profile 'v100'", "t4"),
        ({"name": "l4", "cloud": "ibm"}, "unknown cloud 'ibm'", "gke"),
        ({"name": "l40", "cloud": "gke"}, "gke does not offer l40", "onprem"),
    ],
)
def test_what_does_not_exist_is_refused(arguments: dict[str, str], message: str, hint: str) -> None:
    """The error names what was asked for, the hint what there is."""
    with pytest.raises(UsageError, match=re.escape(message)) as refusal:
        find_profile(**arguments)
    assert hint in str(refusal.value.hint)


def test_what_exists_is_found() -> None:
    """A GPU in a cloud."""
    assert find_profile("a100-40", cloud="gke").gke == ("nvidia-tesla-a100",)


def test_document_names_only_clouds_that_offer_the_gpu() -> None:
    """The chart tells an offered GPU by the presence of the cloud's key."""
    for name, values in profiles_document().items():
        assert {cloud for cloud in CLOUDS if cloud in values} == set(PROFILES[name].clouds()) - {"onprem"}
