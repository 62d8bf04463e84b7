"""Run the onnx package's backend test cases through packaging and a real Triton: `make conformance`.

Without arguments the fixed sample that CI runs; --full takes every case.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import tempfile
import time
from pathlib import Path

from cases import Case, load_cases
from outcomes import GOOD, Outcome, Verdict, print_report, write_report
from serving import package_case, run_case, serve_cases

from serve_deploy.onnx.string_locale import provide_locale

SAMPLE = Path(__file__).with_name("sample.txt")
# Each served model is a process of some 70 MB, and takes 1 MB of /dev/shm, which is 64 MB in a container.
_MODELS_A_SERVER = 32


def main() -> int:
    """Run, report, and fail where any case is not served, not refused and yet reproduced by ONNX Runtime."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="every case, not the sample")
    parser.add_argument("--report", type=Path, help="write the outcomes as JSON")
    parser.add_argument("names", nargs="*", help="only these cases")
    arguments = parser.parse_args()
    wanted = set(arguments.names) or (None if arguments.full else set(SAMPLE.read_text().split()))
    start = time.monotonic()
    provide_locale()
    cases = [case for case in load_cases() if wanted is None or case.name in wanted]
    outcomes = sorted(run_cases(cases), key=lambda outcome: outcome.name)
    print_report(outcomes)
    print(f"\n{time.monotonic() - start:.0f} s")
    if arguments.report:
        write_report(arguments.report, outcomes)
    if wanted and len(outcomes) < len(wanted):
        print(f"not among the cases: {', '.join(wanted - {outcome.name for outcome in outcomes})}")
        return 1
    return 0 if all(outcome.verdict in GOOD for outcome in outcomes) else 1


def judge(outcome: Outcome, cause: str | None) -> Outcome:
    """What to say of a case, knowing why ONNX Runtime does not reproduce it ("": it does, None: not tried)."""
    if outcome.verdict is Verdict.REFUSED:
        too_new = cause == "" and "cannot lower the" in outcome.cause
        return dataclasses.replace(outcome, verdict=Verdict.TOO_NEW) if too_new else outcome
    is_excused = outcome.verdict is Verdict.DIFFERENT or (
        outcome.verdict is Verdict.NOT_PACKAGED and outcome.cause.startswith("exit code 2: `samples`")
    )
    if cause and is_excused:
        return Outcome(outcome.name, Verdict.NOT_REPRODUCED, cause)
    return outcome


def run_cases(cases: list[Case]) -> list[Outcome]:
    """All cases, a repository of some at a time."""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="serve-conformance-") as temporary:
        folder = Path(temporary)
        repository, packaged, causes = folder / "models", [], {}
        for number, case in enumerate(cases, start=1):
            causes[case.name] = run_case(case)
            failed = package_case(case, folder, repository)
            if failed:
                outcomes.append(failed)
                shutil.rmtree(repository / case.name, ignore_errors=True)
            else:
                packaged.append(case)
            if packaged and (len(packaged) == _MODELS_A_SERVER or number == len(cases)):
                outcomes += serve_cases(packaged, repository)
                shutil.rmtree(repository)
                packaged = []
                print(f"{number} of {len(cases)} cases", file=sys.stderr, flush=True)
    return [judge(outcome, causes[outcome.name]) for outcome in outcomes]


if __name__ == "__main__":
    sys.exit(main())
