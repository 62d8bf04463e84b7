"""The helm program, through one small interface."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from serve_deploy.errors import EndpointError, ServeError, UsageError

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def run_program(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with its output as text."""
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@dataclass(frozen=True)
class Helm:
    """A helm on this machine; `run` is how it is run."""

    program: str = "helm"
    run: Run = run_program

    @property
    def is_installed(self) -> bool:
        """Whether helm is on PATH."""
        return shutil.which(self.program) is not None

    def check(self, chart: Path) -> None:
        """Render a chart, so that its own refusals come now; UsageError with the reasons."""
        self.render(str(chart), "demo", "default")

    def upgrade(self, chart: str, release: str, namespace: str, extra: Sequence[str] = ()) -> dict[str, Any]:
        """Install or upgrade a release; the release as helm describes it."""
        arguments = ["upgrade", release, chart, "--install", "--namespace", namespace]
        document: dict[str, Any] = json.loads(self._call([*arguments, "--output", "json", *extra]))
        return document

    def render(self, chart: str, release: str, namespace: str, extra: Sequence[str] = ()) -> str:
        """The manifests that an upgrade would apply; needs no cluster."""
        return self._call(["template", release, chart, "--namespace", namespace, *extra])

    def push(self, package: Path, registry: str) -> str:
        """Push a packed chart to an OCI registry; what helm says of it. One on this machine needs no TLS."""
        host = urlsplit(registry).hostname or ""
        plain = ["--plain-http"] if host == "localhost" or host.startswith("127.") or host == "::1" else []
        # Helm tells of a push on stderr.
        return self._call(["push", str(package), registry, *plain], with_errors=True)

    def _call(self, arguments: Sequence[str], *, with_errors: bool = False) -> str:
        if not self.is_installed:
            raise UsageError(
                "helm is not installed",
                hint="install helm 3 or 4 (https://helm.sh/docs/intro/install) and run this again",
            )
        done = self.run([self.program, *arguments])
        if done.returncode != 0:
            raise explain_failure(arguments[0], done.stderr or done.stdout)
        return done.stdout + (done.stderr if with_errors else "")


def explain_failure(action: str, output: str) -> ServeError:
    """What helm's output means for the user: no cluster, no permission, refused values, or else its last lines."""
    lines = [line for line in output.strip().splitlines() if line and not line.startswith(("WARNING", "walk.go"))]
    message = "\n".join(lines[-12:]).removeprefix("Error: ")
    lower = message.lower()
    if action == "push":
        return EndpointError(
            f"helm push failed: {message}",
            hint="is the registry right and running? helm registry login HOST logs you in",
        )
    if "cluster unreachable" in lower or "connection refused" in lower or "no configuration has been provided" in lower:
        return EndpointError(
            f"helm {action} cannot reach a cluster: {lines[-1].removeprefix('Error: ')}",
            hint="point KUBECONFIG, or the current context (kubectl config use-context), at a cluster that runs",
        )
    if "forbidden" in lower or "unauthorized" in lower:
        return EndpointError(
            f"helm {action} is not permitted: {message}",
            hint="ask for a role that may create the release's objects in this namespace (kubectl auth can-i --list)",
        )
    if "these values cannot work" in lower or "don't meet the specifications" in lower:
        reasons = re.sub(r"execution error at \(.*?\): |\nUse --debug flag.*", "", message)
        return UsageError(f"the chart refuses its values: {reasons}", hint="correct values.yaml or the values given")
    return EndpointError(f"helm {action} failed: {message}", hint="helm history lists the revisions of a release")
