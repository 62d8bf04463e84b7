"""Compare what the table says of releases with what their ONNX Runtimes do: `python scripts/kernel_table/compare.py`.

The models are onnx's backend cases: those of the installed onnx, and those of the onnx package that is as old as the
release's ONNX Runtime, of which more are within its opsets. Fails on any false acceptance.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import onnx
from environments import Environment, find_pythons, install

from serve_deploy.onnx.operator_uses import list_operator_uses
from serve_deploy.releases import answer_release, check_release, find_release

_LIST_CASES = Path(__file__).with_name("list_cases.py")
# Each release with an onnx package of the time of its ONNX Runtime.
RELEASES = {
    "23.08": "1.14.1",
    "24.02": "1.15.0",
    "24.10": "1.16.2",
    "25.06": "1.17.0",
    "26.01": "1.19.1",
    "26.07": "1.20.1",
}
# What is worth a line: where the two differ, and what is not known and does not load.
_NOTABLE = {("runs", False), ("refused", True), ("refused for its version", True), ("unknown", False)}


def main() -> int:
    """Print one line a release; 1 where any was accepted falsely, or where there was too little to compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the wheels are installed")
    parser.add_argument("--pythons", nargs="*", default=find_pythons(), help="Pythons that wheels may be for")
    parser.add_argument("releases", nargs="*", default=list(RELEASES), help="releases to compare")
    arguments = parser.parse_args()
    newest = list_cases(sys.executable, None)
    wrong = 0
    for release in arguments.releases:
        version = find_release(release).onnxruntime_version
        environment = install(version, arguments.folder / version, arguments.pythons)
        if environment is None:
            print(f"{release}: its ONNX Runtime cannot be installed")
            continue
        folder = _install_onnx(RELEASES[release], arguments.folder, environment.python)
        older = {f"{name} of its time": model for name, model in list_cases(environment.python, folder).items()}
        wrong += compare(release, environment, {**newest, **older})
    return 1 if wrong else 0


def _install_onnx(version: str, folder: Path, python: str) -> Path:
    target = folder / f"onnx-{version}"
    if not target.exists():
        command = [python, "-m", "pip", "install", "-q", "--no-compile", "--only-binary=:all:", "--target", str(target)]
        subprocess.run([*command, f"onnx=={version}", "numpy<2", "protobuf<5", "ml_dtypes"], check=True)
    return target


def list_cases(python: str, folder: Path | None) -> dict[str, bytes]:
    """The backend cases of the onnx in a folder, or of that Python itself."""
    environment = {"PYTHONPATH": str(folder)} if folder else {}
    out = subprocess.run([python, str(_LIST_CASES)], capture_output=True, check=True, env=environment).stdout
    parts = []
    while out:
        (size,) = struct.unpack("<I", out[:4])
        parts.append(out[4 : 4 + size])
        out = out[4 + size :]
    return {name.decode(): model for name, model in zip(parts[::2], parts[1::2], strict=True)}


def judge(release: str, content: bytes) -> tuple[str, str]:
    """What the table says: `refused for its version`, `refused`, `unknown` or `runs`, and the reason."""
    model = onnx.ModelProto.FromString(content)
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    error = check_release(release, model.ir_version, opsets)
    if error is not None:
        return "refused for its version", error.message
    answer = answer_release(release, list_operator_uses(model))
    return answer.verdict, ", ".join(answer.reasons)


def compare(release: str, environment: Environment, cases: dict[str, bytes]) -> int:
    """Load every case as Triton does, and count; returns the number of false acceptances."""
    answers = environment.try_models(list(cases.values()), optimise=True)
    counts: Counter[tuple[str, bool]] = Counter()
    for (name, content), answer in zip(cases.items(), answers, strict=True):
        verdict, reason = judge(release, content)
        counts[verdict, not answer] += 1
        if (verdict, not answer) in _NOTABLE:
            print(f"  {name}: {verdict} {reason}; ONNX Runtime: {answer[:160] or 'loads'}")
    version = find_release(release).onnxruntime_version
    print(
        f"{release} (ONNX Runtime {version}): {len(cases)} cases; both accept {counts['runs', True]}, both refuse "
        f"{counts['refused', False]} for an operator and {counts['refused for its version', False]} for their version; "
        f"falsely accepted {counts['runs', False]}, falsely refused "
        f"{counts['refused', True] + counts['refused for its version', True]}; not known: "
        f"{counts['unknown', True]} that load and {counts['unknown', False]} that do not",
        flush=True,
    )
    return counts["runs", False]


if __name__ == "__main__":
    sys.exit(main())
