"""Which limit is named when a server ran into one."""

from __future__ import annotations

import resource

import pytest

from serve_deploy.errors import TritonStartError
from serve_deploy.triton.limits import check_limits, name_shortage

_GENEROUS = {
    resource.RLIMIT_NOFILE: (1024, 1 << 20), resource.RLIMIT_NPROC: (1 << 16,) * 2,
    resource.RLIMIT_AS: (resource.RLIM_INFINITY,) * 2,
}  # fmt: skip
_GIB = 1 << 30


def _limits(**changed: int):
    numbers = {"files": resource.RLIMIT_NOFILE, "space": resource.RLIMIT_AS}
    limits = _GENEROUS | {numbers[name]: (value, value) for name, value in changed.items()}
    return limits.__getitem__


def test_what_the_log_speaks_of_comes_before_what_is_merely_low() -> None:
    """With the command that allows enough."""
    limits = _limits(files=200, space=3 * _GIB)
    named = name_shortage("what():  std::bad_alloc", limits)
    assert named is not None
    assert named.startswith("ulimit -v allows 3,145,728 KiB of address space here")
    assert named.endswith("ulimit -v 8388608")
    assert (name_shortage("", limits) or "").startswith("ulimit -n allows 200 open files here")


def test_a_limit_that_is_merely_low_is_not_blamed_for_an_error_of_its_own() -> None:
    """A server that ended and said why."""
    assert name_shortage("unknown flag", _limits(files=200), said=True) is None
    assert name_shortage("Too many open files", _limits(), said=True) is None


@pytest.mark.parametrize(("changed", "message"), [({"files": 95}, "95 open files"), ({"space": _GIB}, "1,048,576 KiB")])
def test_a_limit_below_the_least_is_refused(changed: dict[str, int], message: str) -> None:
    """With it Triton can hang."""
    check_limits(_limits())
    with pytest.raises(TritonStartError, match=message):
        check_limits(_limits(**changed))
