"""How many instances of a model a GPU holds, and which batches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.gpu_profiles import PROFILES
from serve_deploy.packaging.configuration.gpu_sizing import (
    GIB,
    MIB,
    MemoryNeed,
    default_workspace_bytes,
    in_words,
    size_for_gpu,
)

L4 = PROFILES["l4"]
NEEDS = st.builds(MemoryNeed, st.integers(1, 200 * GIB), st.none() | st.integers(0, 10 * GIB))


def test_a_small_model_has_two_instances() -> None:
    """One copies while the other computes."""
    sizing = size_for_gpu(L4, MemoryNeed(100 * MIB, MIB), 8, GIB)
    assert (sizing.instances, sizing.max_batch_size, sizing.fits) == (2, 8, True)
    assert sizing.instance_bytes == 200 * MIB + 8 * MIB + GIB


def test_a_large_model_has_one() -> None:
    """Twice 5 GiB of weights and a workspace: of 22 GiB there is room for one."""
    sizing = size_for_gpu(L4, MemoryNeed(5 * GIB, MIB), 8, GIB)
    assert (sizing.instances, sizing.max_batch_size, sizing.fits) == (1, 8, True)


def test_a_batch_is_halved_until_it_fits() -> None:
    """64 rows of 1 GiB do not fit into 22 GiB, 16 do."""
    assert size_for_gpu(L4, MemoryNeed(MIB, GIB), 64, GIB).max_batch_size == 16
    assert size_for_gpu(PROFILES["h200"], MemoryNeed(MIB, GIB), 64, GIB).max_batch_size == 64


def test_instances_that_were_asked_for_stay() -> None:
    """The batch gives way, and where that is not enough, it is said."""
    sizing = size_for_gpu(L4, MemoryNeed(5 * GIB, GIB), 8, GIB, instances=3)
    assert (sizing.instances, sizing.max_batch_size, sizing.fits) == (3, 1, False)


@given(
    need=NEEDS,
    proven=st.integers(0, 512),
    name=st.sampled_from(list(PROFILES)),
    instances=st.none() | st.integers(1, 9),
)
def test_nothing_goes_beyond_what_was_proven_or_fits(
    need: MemoryNeed, proven: int, name: str, instances: int | None
) -> None:
    """The batch is at most the proven one, and `fits` is true exactly where the instances take at most nine tenths."""
    gpu = PROFILES[name]
    sizing = size_for_gpu(gpu, need, proven, default_workspace_bytes(gpu), instances=instances)
    assert min(proven, 1) <= sizing.max_batch_size <= proven
    assert sizing.fits == (sizing.instances * sizing.instance_bytes <= 0.9 * gpu.usable_bytes)
    assert sizing.instances == instances or (instances is None and sizing.instances in (1, 2))


@given(need=NEEDS, proven=st.integers(1, 512))
def test_more_memory_never_lowers_a_batch(need: MemoryNeed, proven: int) -> None:
    """From the smallest GPU to the largest, workspaces of both included."""
    gpus = [PROFILES[name] for name in ("t4", "l4", "l40", "h100", "h200")]
    sizings = [size_for_gpu(gpu, need, proven, default_workspace_bytes(gpu)) for gpu in gpus]
    batches = [sizing.max_batch_size for sizing in sizings]
    assert batches == sorted(batches)


def test_the_workspace_is_a_power_of_two_within_a_sixteenth() -> None:
    """On every GPU."""
    for gpu in PROFILES.values():
        size = default_workspace_bytes(gpu)
        assert size <= gpu.usable_bytes / 16 < 2 * size
        assert size.bit_count() == 1


@pytest.mark.parametrize(
    ("size", "words"), [(512, "512 bytes"), (27 * 1024, "27 KiB"), (int(1.5 * MIB), "1.5 MiB"), (22 * GIB, "22 GiB")]
)
def test_sizes_are_said_in_one_unit(size: int, words: str) -> None:
    """The largest that leaves a number above 1."""
    assert in_words(size) == words
