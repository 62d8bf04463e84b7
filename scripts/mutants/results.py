"""What became of faults, kept in a file, so that a run that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from faults import Fault, plant_faults
from trials import Module, try_faults

_KEPT = Path("build/mutants")


@dataclass(frozen=True)
class Result:
    """The names of the faults of a module that were tried, and of those that its tests did not notice."""

    path: str
    tried: tuple[str, ...]
    unnoticed: tuple[str, ...]
    tests_pass: bool  # without a fault


def try_module(module: Module, sample: int | None, survivors: bool) -> Result:
    """Try the faults of a module that have no result yet, of a sample where one is asked for.

    A result holds as long as the library and the tests stay as they are; with `survivors`, faults that were noticed
    once are not tried again.
    """
    faults = list(plant_faults(module.path.read_text(encoding="utf-8")))
    if sample:
        faults = sorted(faults, key=lambda fault: _digest(fault.code))[:sample]
    state = _digest("".join(path.read_text(encoding="utf-8") for path in _list_sources(module)))
    kept = _KEPT / f"{module.name}.jsonl"
    known = {code: noticed for code, noticed, at in _read(kept) if at == state or (survivors and noticed)}
    kept.parent.mkdir(parents=True, exist_ok=True)

    def tell(fault: Fault, noticed: bool) -> None:
        known[_digest(fault.code)] = noticed
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps([_digest(fault.code), noticed, state]) + "\n")
        print("." if noticed else "U", end="", flush=True)

    print(module.path)
    passed = try_faults(module, [fault for fault in faults if _digest(fault.code) not in known], tell)
    print()
    unnoticed = tuple(fault.name for fault in faults if not known.get(_digest(fault.code)))
    return Result(str(module.path), tuple(fault.name for fault in faults), unnoticed, passed)


def _list_sources(module: Module) -> Iterator[Path]:
    for each in ("deploy", "tests/support", "tests/corpus", *module.tests):
        path = Path(each)
        yield from [path] if path.is_file() else sorted([*path.rglob("*.py"), *path.rglob("*.txt")])


def _read(kept: Path) -> Sequence[tuple[str, bool, str]]:
    return [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()] if kept.exists() else []


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
