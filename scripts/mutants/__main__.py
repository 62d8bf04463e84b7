"""Plant small faults in the modules where a wrong answer hurts, and see whether their tests notice: `make mutants`.

The modules, their tests and the least share to be noticed stand in pyproject.toml, in [tool.mutants]. A fault that
goes unnoticed must stand in judged.toml beside this file, with the reason why no test notices it.
"""

from __future__ import annotations

import argparse
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from results import Result, try_module
from trials import Module

_ROOT = Path(__file__).parents[2]
_JUDGED = Path(__file__).with_name("judged.toml")


def main() -> int:
    """Try the modules, print what they did not notice, and a table; 1 where one falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", help="modules, or folders of them; without one, all")
    parser.add_argument("--sample", type=int, help="how many faults of each module to try, always the same")
    parser.add_argument("--survivors", action="store_true", help="try only what no earlier run noticed")
    options = parser.parse_args()
    os.chdir(_ROOT)
    configured = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutants"]
    judged = tomllib.loads(_JUDGED.read_text(encoding="utf-8"))
    modules = [module for module in _list_modules(configured["modules"]) if _is_asked(module, options.paths)]
    if not modules:
        parser.error("none of these modules is in [tool.mutants.modules] of pyproject.toml")
    # A process for each module: pytest cannot start twice in one.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        trials = [pool.submit(try_module, module, options.sample, options.survivors) for module in modules]
        results = [trial.result() for trial in trials]
    problems = [problem for result in results for problem in _judge(result, judged, configured["least_noticed"])]
    print("", *problems, *_table(results, judged), sep="\n")
    return 1 if problems else 0


def _list_modules(configured: Mapping[str, Sequence[str]]) -> Iterator[Module]:
    for pattern, tests in configured.items():
        for path in sorted(Path().glob(pattern)):
            yield Module(path, ".".join(path.with_suffix("").parts[1:]).removesuffix(".__init__"), tuple(tests))


def _is_asked(module: Module, paths: Sequence[str]) -> bool:
    return not paths or any(module.path.is_relative_to(path) for path in paths)


def _judge(result: Result, judged: Mapping[str, Mapping[str, str]], least_noticed: float) -> Iterator[str]:
    reasons = judged.get(result.path, {})
    noticed = len(result.tried) - len(result.unnoticed)
    if not result.tests_pass:
        yield f"{result.path}: the tests fail without a fault"
    if noticed < least_noticed * len(result.tried):
        yield f"{result.path}: fewer than {least_noticed:.0%} of the faults were noticed"
    unjudged = [name for name in dict.fromkeys(result.unnoticed) if name not in reasons]
    if unjudged:
        lines = [f"{json.dumps(name, ensure_ascii=False)} = " for name in unjudged]
        yield "\n".join([f"{result.path}: not noticed, and not judged:", *lines])
    for name in reasons:
        if name in result.tried and name not in result.unnoticed:
            yield f"{result.path}: judged, but noticed: {name}"


def _table(results: Sequence[Result], judged: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    yield f"{'module':<60} faults noticed judged unjudged"
    for result in results:
        known = sum(name in judged.get(result.path, {}) for name in result.unnoticed)
        noticed, unjudged = len(result.tried) - len(result.unnoticed), len(result.unnoticed) - known
        share = noticed / max(len(result.tried), 1)
        yield f"{result.path:<60} {len(result.tried):>6} {noticed:>4}{share:>4.0%} {known:>6} {unjudged:>8}"


if __name__ == "__main__":
    raise SystemExit(main())
