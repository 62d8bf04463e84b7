"""What helm's complaints mean for the user."""

from __future__ import annotations

import re

from serve_deploy.errors import EndpointError, ServeError, UsageError

# What a field manager is called when Kubernetes' own parts, or people by kubectl, own a field.
_MANAGERS = {
    "kube-controller-manager": "the autoscaler",
    "keda": "KEDA",
    "kubectl": "kubectl",
    "kubectl-set": "kubectl set",
    "kubectl-edit": "kubectl edit",
    "kubectl-patch": "kubectl patch",
    "kubectl-client-side-apply": "kubectl apply",
}
_CONFLICT = re.compile(r'conflicts? with "([^"]+)"(?: with subresource "(\w+)")? using \S+:((?:\n- \S.*)+| \.\S+)')
_APPLIED = re.compile(r"applying object (\S+) \S+ Kind=(\w+)")

_NO_CHART = re.compile(
    r"not appear to be a gzipped archive|path \".*\" not found|Chart\.yaml (file )?is missing|/Chart\.yaml:"
)


class NoSuchRelease(UsageError):
    """Helm remembers no release of that name in that namespace."""


class ReleaseLocked(EndpointError):
    """Helm refuses, because one of its operations on the release has begun and not ended."""


def explain_failure(action: str, output: str) -> ServeError:
    """What helm's output means for the user: no cluster, no permission, refused values, or else its last lines."""
    noise = ("WARNING", "walk.go", "level=WARN")
    lines = [line for line in output.strip().splitlines() if line and not line.startswith(noise)]
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
    if "release: not found" in lower:
        return NoSuchRelease(
            "there is no such release in this namespace",
            hint="helm list --all-namespaces shows the releases; name the namespace with `namespace`",
        )
    if "another operation" in lower:
        return ReleaseLocked("another helm works on the release, or was interrupted while it did")
    conflict = explain_conflict(message)
    if conflict:
        return conflict
    if _NO_CHART.search(message):
        return UsageError(
            f"there is no chart to install: {message.removeprefix('UPGRADE FAILED: ')}",
            hint="name the directory that serve chart wrote, its .tgz or an oci:// address",
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


def explain_conflict(message: str, what: str = "the release") -> EndpointError | None:
    """Whose fields of an object helm would set: with server-side apply a field belongs to who set it last."""
    if not _CONFLICT.search(message):
        return None
    applied = _APPLIED.search(message)
    what = f"{applied[2]} {applied[1].partition('/')[2]}" if applied else what
    owned = [
        f"{field.strip()} was set by {_name_owner(manager, subresource)}"
        for manager, subresource, fields in _CONFLICT.findall(message)
        for field in fields.removeprefix("\n").split("\n- ")
    ]
    return EndpointError(
        f"helm may not change what others have set in {what}: {'; '.join(owned).replace('- .', '.')}",
        hint="give the chart the same value, or take the fields over with `force_conflicts`",
    )


def _name_owner(manager: str, subresource: str) -> str:
    if subresource == "scale" and manager == "kubectl":
        return "kubectl scale"
    return _MANAGERS.get(manager, manager)
