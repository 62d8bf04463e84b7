"""The Pod Security Standard "restricted", as violations of a pod spec (Kubernetes documentation, v1.33 rules)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_VOLUME_TYPES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
_SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}  # fmt: skip
_SECCOMP = {"RuntimeDefault", "Localhost"}


def find_violations(spec: dict[str, Any]) -> list[str]:
    """Violations of one pod spec, empty where "restricted" admits it."""
    return [*_check_pod(spec), *(problem for each in _containers(spec) for problem in _check_container(each, spec))]


def _containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*spec.get("initContainers", []), *spec["containers"], *spec.get("ephemeralContainers", [])]


def _check_pod(spec: dict[str, Any]) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield name
    security = spec.get("securityContext", {})
    yield from (f"sysctl {each['name']}" for each in security.get("sysctls", []) if each["name"] not in _SAFE_SYSCTLS)
    if security.get("runAsUser") == 0:
        yield "pod runs as root"
    if security.get("seLinuxOptions", {}).get("type") not in _SELINUX_TYPES:
        yield "pod's SELinux type"
    if security.get("windowsOptions", {}).get("hostProcess"):
        yield "pod's hostProcess"
    for volume in spec.get("volumes", []):
        if not set(volume) - {"name"} <= _VOLUME_TYPES:
            yield f"volume {volume['name']} is of type {set(volume) - {'name'}}"


def _check_container(container: dict[str, Any], spec: dict[str, Any]) -> Iterator[str]:
    name = container["name"]
    pod, own = spec.get("securityContext", {}), container.get("securityContext", {})
    capabilities = own.get("capabilities", {})
    if own.get("privileged"):
        yield f"{name} is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may escalate privileges"
    if "ALL" not in capabilities.get("drop", []):
        yield f"{name} does not drop all capabilities"
    if not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"}:
        yield f"{name} adds capabilities"
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield f"{name} may run as root"
    if own.get("runAsUser") == 0:
        yield f"{name} runs as root"
    if own.get("seccompProfile", pod.get("seccompProfile", {})).get("type") not in _SECCOMP:
        yield f"{name} has no seccomp profile"
    if own.get("procMount", "Default") != "Default":
        yield f"{name} unmasks /proc"
    yield from (
        f"{name} takes host port {port['hostPort']}" for port in container.get("ports", []) if "hostPort" in port
    )
