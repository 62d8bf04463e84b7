"""Triton container releases: their server version, ONNX Runtime, and the newest model format each one reads.

Source: NVIDIA's support matrix from 24.04 on, the build history before that; the limits were found by loading models
into the ONNX Runtime of each row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.kernels import Answer, OperatorUse, answer_all, read_table
from serve_deploy.tensors.types import DataType, ModelSignature

# The newest release whose ONNX Runtime's limits were seen: a model is refused only where no container would take it.
DEFAULT_RELEASE = "26.07"
# The first with --model-config-name.
NAMED_CONFIGS_SINCE = "24.05"


@dataclass(frozen=True)
class Release:
    """One container release and the newest IR version and opsets that its ONNX Runtime accepts."""

    name: str
    server_version: str
    onnxruntime_version: str
    max_ir_version: int
    max_opset: int
    max_ml_opset: int


# ONNX Runtime versions in the order of release: (first Triton release that carries it, version).
_ONNXRUNTIMES = (
    ("23.01", "1.13.1"), ("23.03", "1.14.1"), ("23.05", "1.15.0"), ("23.07", "1.15.1"), ("23.10", "1.16.0"),
    ("23.11", "1.16.3"), ("24.03", "1.17.2"), ("24.04", "1.17.3"), ("24.05", "1.18.0"), ("24.07", "1.18.1"),
    ("24.09", "1.19.2"), ("24.12", "1.20.1"), ("25.03", "1.21.0"), ("25.05", "1.22.0"), ("25.08", "1.23.0"),
    ("25.10", "1.23.1"), ("25.11", "1.23.2"), ("26.02", "1.24.1"), ("26.03", "1.24.2"), ("26.04", "1.24.4"),
    ("26.07", "1.27.0"),
)  # fmt: skip
# Highest IR version, ai.onnx opset and ai.onnx.ml opset by ONNX Runtime 1.<minor>.
_LIMITS = {
    13: (8, 17, 3), 14: (8, 18, 3), 15: (9, 18, 3), 16: (9, 19, 3), 17: (9, 20, 4), 18: (10, 21, 5), 19: (10, 21, 5),
    20: (10, 21, 5), 21: (10, 22, 5), 22: (10, 22, 5), 23: (11, 23, 5), 24: (13, 25, 5), 27: (13, 26, 5),
}  # fmt: skip
_FIRST, _NEWEST = (23, 1), (26, 8)
# 25.06 is server 2.59 and 25.08 is 2.60: July 2025 patched the one before.
_PATCHED = (25, 7)
_BF16_SINCE = "26.03"


def _months(release: tuple[int, int]) -> int:
    return release[0] * 12 + release[1] - 1


def _parse(name: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d\d)\.(\d\d)", name)
    return (int(found[1]), int(found[2])) if found and 1 <= int(found[2]) <= 12 else None


def _release(year: int, month: int) -> Release:
    name = f"{year:02}.{month:02}"
    onnxruntime = [version for since, version in _ONNXRUNTIMES if since <= name][-1]
    minor = 30 + _months((year, month)) - _months(_FIRST) - (1 if (year, month) >= _PATCHED else 0)
    patch = 1 if (year, month) == _PATCHED else 0
    return Release(name, f"2.{minor}.{patch}", onnxruntime, *_LIMITS[int(onnxruntime.split(".")[1])])


def list_releases() -> tuple[Release, ...]:
    """Every release known, oldest first."""
    months = range(_months(_FIRST), _months(_NEWEST) + 1)
    return tuple(_release(month // 12, month % 12 + 1) for month in months)


def find_release(name: str) -> Release:
    """Look a release up by its name, such as 24.10; UsageError names the nearest ones where it is unknown."""
    release = _parse(name.removeprefix("v").removesuffix("-py3"))
    first, newest = (f"{year:02}.{month:02}" for year, month in (_FIRST, _NEWEST))
    if release is None:
        raise UsageError(
            f"'{name}' is not a Triton release", hint=f"releases are named by year and month: {first} to {newest}"
        )
    if release > _NEWEST:
        raise UsageError(
            f"Triton {name} is newer than this version of serve knows (up to {newest})",
            hint=f"use `release={newest}`: later releases accept what it accepts",
        )
    if release < _FIRST:
        raise UsageError(f"Triton {name} is older than serve supports", hint=f"the oldest known release is {first}")
    return _release(*release)


def check_release(release: str, ir_version: int, opsets: Mapping[str, int]) -> InvalidModelError | None:
    """Return why the release's ONNX Runtime would refuse the model, with what to do; None where it accepts it.

    `opsets` maps a domain ("ai.onnx" for the default one) to its version. Raises UsageError for an unknown release.
    """
    target = find_release(release)
    reasons = _excesses(target, ir_version, opsets)
    if not reasons:
        return None
    fitting = next((r.name for r in list_releases() if not _excesses(r, ir_version, opsets)), None)
    newer = f"use `release={fitting}` or later, or " if fitting else "no known release accepts it; "
    return InvalidModelError(
        f"Triton {target.name} (ONNX Runtime {target.onnxruntime_version}) would refuse the model: "
        + "; ".join(reasons),
        hint=f"{newer}convert a copy with `fix=True`, or export the model again with an older opset",
    )


def _excesses(release: Release, ir_version: int, opsets: Mapping[str, int]) -> list[str]:
    limits = {"ai.onnx": release.max_opset, "ai.onnx.ml": release.max_ml_opset}
    reasons = [f"its IR version {ir_version} is above {release.max_ir_version}"] * (ir_version > release.max_ir_version)
    return reasons + [
        f"its {domain} opset {opsets[domain]} is above {limit}"
        for domain, limit in limits.items()
        if opsets.get(domain, 0) > limit
    ]


def answer_release(release: str, uses: Iterable[OperatorUse]) -> Answer:
    """Whether the release's ONNX Runtime has a CPU kernel for every operator, as far as that is known."""
    return answer_all(dict.fromkeys(uses), find_release(release).onnxruntime_version, read_table())


def check_operators(
    release: str, uses: Iterable[OperatorUse], *, ir_version: int, opsets: Mapping[str, int]
) -> InvalidModelError | None:
    """Return why the release's ONNX Runtime would refuse an operator of the model; None where it is not known to."""
    target, unique = find_release(release), tuple(dict.fromkeys(uses))
    answer = answer_release(release, unique)
    if answer.verdict != "refused":
        return None
    fitting = next(
        (
            other.name
            for other in list_releases()
            if other.name > target.name
            and not _excesses(other, ir_version, opsets)
            and answer_release(other.name, unique).verdict == "runs"
        ),
        None,
    )
    newer = f"use `release={fitting}` or later, or " if fitting else "no known release runs it on a CPU; "
    return InvalidModelError(
        f"Triton {target.name} (ONNX Runtime {target.onnxruntime_version}) would refuse the model: on a CPU it does "
        f"not run {_enumerate(answer.reasons)}",
        hint=f"{newer}convert a copy with `fix=True`, or export the model again with other operators",
    )


def note_operators(release: str, answer: Answer) -> str | None:
    """What is not known of the release and the model's operators, in one sentence."""
    target = find_release(release)
    if answer.verdict == "runs":
        return None
    runtime = f"Triton {target.name} (ONNX Runtime {target.onnxruntime_version})"
    if answer.verdict == "refused":
        return f"{runtime} has no CPU kernel for {_enumerate(answer.reasons)}; whether its GPU kernels do is not known"
    if target.onnxruntime_version in read_table().missing:
        return (
            f"{runtime}: not known whether it runs every operator, because that ONNX Runtime has no wheel to try; "
            "only the IR version and the opsets were compared"
        )
    return f"{runtime}: not known whether it runs {_enumerate(answer.reasons)}"


def _enumerate(reasons: tuple[str, ...], most: int = 5) -> str:
    shown = ", ".join(reasons[:most])
    return f"{shown} and {len(reasons) - most} more" if len(reasons) > most else shown


def check_data_types(release: str, signature: ModelSignature) -> InvalidModelError | None:
    """Return why the release cannot serve a tensor's type (BF16 before 26.03), or None."""
    target = find_release(release)
    served = target.name >= _BF16_SINCE
    for tensor in (*signature.inputs, *signature.outputs):
        if tensor.data_type is DataType.BF16 and not served:
            return InvalidModelError(
                f"tensor '{tensor.name}' is BF16, which Triton {target.name} cannot serve from ONNX",
                hint=f"use `release={_BF16_SINCE}` or later, or cast it to FP32 in a copy with `fix=True`",
            )
    return None
