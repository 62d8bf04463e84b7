"""The helm program, through one small interface."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from serve_deploy.cluster.changes.helm_errors import NoSuchRelease, explain_failure
from serve_deploy.errors import UsageError

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def read_manifest(text: str) -> list[Any]:
    """The objects of a manifest, as helm renders it."""
    import yaml

    return [each for each in yaml.safe_load_all(text) if each]


def run_program(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with its output as text; Ctrl-C takes effect afterwards, the second one at once."""
    # A helm that is stopped halfway leaves its release locked, so the terminal's Ctrl-C must not reach it.
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate()
        except KeyboardInterrupt:
            try:
                process.communicate()
            except KeyboardInterrupt:
                process.terminate()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@dataclass(frozen=True)
class Revision:
    """One revision of a release, as helm remembers it."""

    number: int
    status: str
    chart: str
    updated: str
    description: str

    @property
    def is_good(self) -> bool:
        """Whether helm got to its end with it; of one that failed, a later failure makes a superseded one."""
        return self.status in ("deployed", "superseded") and "failed" not in self.description

    @property
    def is_locked(self) -> bool:
        """Whether a helm works on it, or was interrupted while it did."""
        return self.status.startswith("pending-")


@dataclass(frozen=True)
class Helm:
    """A helm on this machine, for a context of KUBECONFIG (None: the current one); `run` is how it is run."""

    program: str = "helm"
    run: Run = run_program
    context: str | None = None

    @property
    def is_installed(self) -> bool:
        """Whether helm is on PATH."""
        return shutil.which(self.program) is not None

    def check(self, chart: Path) -> None:
        """Render a chart, so that its own refusals come now; UsageError with the reasons."""
        self.render(str(chart), "demo", "default")

    def upgrade(
        self, chart: str, release: str, namespace: str, extra: Sequence[str] = (), *, force_conflicts: bool = False
    ) -> dict[str, Any]:
        """Install or upgrade a release; the release as helm describes it."""
        arguments = ["upgrade", release, chart, "--install", "--namespace", namespace, *self._forcing(force_conflicts)]
        document: dict[str, Any] = json.loads(self._call([*arguments, "--output", "json", *extra]))
        return document

    def render(self, chart: str, release: str, namespace: str, extra: Sequence[str] = ()) -> str:
        """The manifests that an upgrade would apply; needs no cluster."""
        return self._call(["template", release, chart, "--namespace", namespace, *extra])

    def list_revisions(self, release: str, namespace: str) -> list[Revision]:
        """The revisions that helm remembers, oldest first; UsageError where there is no such release."""
        try:
            listed = json.loads(self._call(["history", release, "--namespace", namespace, "--output", "json"]))
        except NoSuchRelease as error:
            raise NoSuchRelease(f"there is no release {release} in namespace {namespace}", hint=error.hint) from error
        return [
            Revision(each["revision"], each["status"], each["chart"], each["updated"], each["description"])
            for each in sorted(listed, key=lambda each: int(each["revision"]))
        ]

    def get(self, what: str, release: str, namespace: str, revision: int) -> str:
        """A revision's `manifest` or `hooks`, in YAML."""
        return self._call(["get", what, release, "--namespace", namespace, "--revision", str(revision)])

    def roll_back(self, release: str, namespace: str, revision: int, *, force_conflicts: bool = False) -> None:
        """Make a release what it was at a revision, as a new one."""
        self._call(["rollback", release, str(revision), "--namespace", namespace, *self._forcing(force_conflicts)])

    def uninstall(self, release: str, namespace: str) -> None:
        """Remove a release's objects, but those that it keeps, and its history."""
        self._call(["uninstall", release, "--namespace", namespace])

    def _forcing(self, force: bool) -> list[str]:
        """Helm 3 knows no conflicts: it overwrites."""
        is_old = force and self._call(["version", "--short"]).startswith("v3.")
        return ["--force-conflicts"] if force and not is_old else []

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
        context = ["--kube-context", self.context] if self.context else []
        done = self.run([self.program, *arguments, *context])
        if done.returncode != 0:
            raise explain_failure(arguments[0], done.stderr or done.stdout)
        return done.stdout + (done.stderr if with_errors else "")
