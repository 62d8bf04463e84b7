"""Score charts/triton as the charts of others were scored: one row for each ci/ mode.

Usage: python scripts/score_chart.py [MODE ...]
kv: objects that strict schemas of Kubernetes 1.27-1.37 take / refuse / do not know (custom resources: their own).
checkov: passed / failed / checks that scripts/checkov.yaml leaves out with a reason; in an environment of its own.
PSS: violations of Pod Security "restricted". api: accepted / rejected by a server-side dry run, if KUBECONFIG is set.
An image digest is set, as in production; checkov's row "by tag" shows what the bare default lacks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from chart_cases import CHART, DIGEST, KUBERNETES, OLDEST, Values, merge, modes  # noqa: E402
from chart_objects import Objects, parse, pod_templates  # noqa: E402
from crd_schemas import SPECS, find_schema_errors  # noqa: E402
from pod_security import find_violations  # noqa: E402

TOOLS = ROOT / ".tools"
PINNED = {"image": {"digest": DIGEST}}
BY_TAG = "default, by tag"
# It would read its 10 MB of definitions again for every object.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)


@dataclass(frozen=True)
class Score:
    """What one set of values scores; `api` is empty without a cluster."""

    mode: str
    kv: str
    checkov: str
    violations: int
    api: str

    def row(self) -> str:
        """The line of the table."""
        return f"| {self.mode} | {self.kv} | {self.checkov} | {self.violations} | {self.api or '–'} |"


def render(values: Values) -> str:
    """Render with the real helm 4, for a Kubernetes that every check knows."""
    command = [
        TOOLS / "helm4",
        "template",
        "demo",
        CHART,
        "--namespace",
        "models",
        "--kube-version",
        "1.35.0",
        "-f",
        "-",
    ]
    return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=True).stdout


def count_schema_results(values: Values, oldest: str) -> str:
    """Objects that every Kubernetes version from `oldest` on takes, that some refuse, and that have no schema."""
    refused, unknown, seen = set(), set(), set()
    for version in KUBERNETES[KUBERNETES.index(oldest) :]:
        for item in parse(render({**values, "kubeVersion": version})):
            name = (item["kind"], item["metadata"]["name"])
            seen.add(name)
            try:
                if (item["apiVersion"], item["kind"]) in SPECS:
                    refused |= {name} if find_schema_errors(item) else set()
                else:
                    kubernetes_validate.validate(item, version, strict=True)
            except kubernetes_validate.SchemaNotFoundError:
                unknown.add(name)
            except kubernetes_validate.ValidationError:
                refused.add(name)
    return f"{len(seen - refused - unknown)}/{len(refused)}/{len(unknown)}"


def run_checkov(manifests: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Passed and failed checks of each manifest, without those that the configuration leaves out.

    One process for all: it takes seconds to start.
    """
    with tempfile.TemporaryDirectory() as folder:
        for number, manifest in enumerate(manifests.values()):
            Path(folder, f"{number}.yaml").write_text(manifest, encoding="utf-8")
        command = [
            TOOLS / "checkov", "--directory", folder, "--framework", "kubernetes", "--config-file",
            ROOT / "scripts" / "checkov.yaml", "--skip-download", "--compact", "--output", "json",
        ]  # fmt: skip
        result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LOG_LEVEL": "ERROR"})
    checks: Any = json.loads(result.stdout)["results"]
    for check in checks["failed_checks"]:
        print(f"checkov: {check['check_id']} {check['check_name']}: {check['resource']}", file=sys.stderr)
    passed, failed = (
        Counter(Path(check["file_path"]).stem for check in checks[f"{outcome}_checks"])
        for outcome in ("passed", "failed")
    )
    return {mode: (passed[str(number)], failed[str(number)]) for number, mode in enumerate(manifests)}


def count_violations(objects: Objects) -> int:
    """Violations of Pod Security "restricted" in every pod template, also in custom resources."""
    return sum(len(find_violations(template.spec)) for template in pod_templates(objects))


def ask_cluster(objects: Objects) -> str:
    """Accepted and rejected objects of a server-side dry run; empty without KUBECONFIG."""
    if not os.environ.get("KUBECONFIG"):
        return ""
    accepted = 0
    for item in objects:
        command = [TOOLS / "kubectl", "apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "-"]
        namespaced = {**item, "metadata": {**item["metadata"], "namespace": "default"}}
        result = subprocess.run(command, input=yaml.safe_dump(namespaced), capture_output=True, text=True)
        accepted += result.returncode == 0
        if result.returncode:
            print(f"{item['kind']}: {result.stderr.strip()}", file=sys.stderr)
    return f"{accepted}/{len(objects) - accepted}"


def score(mode: str, values: Values, manifest: str) -> Score:
    """Score one set of values, but for checkov, which looks at all of them at once."""
    objects = parse(manifest)
    schemas = count_schema_results(values, OLDEST.get(mode, KUBERNETES[0]))
    return Score(mode, schemas, "", count_violations(objects), ask_cluster(objects))


def main() -> None:
    """Print the table, and end with 1 where the bar is missed."""
    wanted = {mode: merge(modes()[mode], PINNED) for mode in sys.argv[1:] or modes()}
    if "default" in wanted:
        wanted[BY_TAG] = modes()["default"]
    skipped = len(yaml.safe_load((ROOT / "scripts" / "checkov.yaml").read_text(encoding="utf-8"))["skip-check"])
    with ThreadPoolExecutor(os.cpu_count()) as pool, ThreadPoolExecutor(1) as beside:
        manifests = dict(zip(wanted, pool.map(render, wanted.values()), strict=True))
        checks = beside.submit(run_checkov, manifests)
        scores = list(pool.map(score, wanted, wanted.values(), manifests.values()))
    print("| mode | kv pass/fail/unknown | checkov pass/fail/skipped | PSS | api ok/rejected |\n|---|---|---|---|---|")
    for number, each in enumerate(scores):
        passed, failed = checks.result()[each.mode]
        scores[number] = replace(each, checkov=f"{passed}/{failed}/{skipped}")
        print(scores[number].row())
    missed = [
        each.mode
        for each in scores
        if each.mode != BY_TAG
        and (
            not each.kv.endswith("/0/0")
            or "/0/" not in each.checkov
            or each.violations
            or (each.api and not each.api.endswith("/0"))
        )
    ]
    if missed:
        sys.exit(f"below the bar: {', '.join(missed)}")


if __name__ == "__main__":
    main()
