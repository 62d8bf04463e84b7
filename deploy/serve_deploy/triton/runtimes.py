"""Which of the ways of running a Triton server is taken."""

from __future__ import annotations

from serve_deploy.errors import TritonStartError
from serve_deploy.triton.docker import DockerRuntime
from serve_deploy.triton.embedded import EmbeddedRuntime
from serve_deploy.triton.installed import InstalledRuntime
from serve_deploy.triton.options import RuntimeName
from serve_deploy.triton.runtime import Runtime


def known_runtimes() -> tuple[Runtime, ...]:
    """All runtimes, in the order in which they are tried.

    An installed Triton has the native backends and is what production runs; the embedded one needs neither a daemon
    nor a download; a container comes last, because its image is many gigabytes.
    """
    return (InstalledRuntime(), EmbeddedRuntime(), DockerRuntime())


def select_runtime(name: RuntimeName | None, runtimes: tuple[Runtime, ...] | None = None) -> Runtime:
    """Take the runtime asked for, else the first that is there; raises TritonStartError saying how to get one."""
    missing = []
    for runtime in runtimes or known_runtimes():
        if name not in (None, runtime.name):
            continue
        reason = runtime.why_unavailable()
        if reason is None:
            return runtime
        missing.append(f"{runtime.name}: {reason}")
    asked = f"the {name} runtime" if name else "a Triton runtime"
    raise TritonStartError(
        f"{asked} is not available here ({'; '.join(missing)})",
        hint="pip install 'triton-serve[local]' brings a real Triton for Linux on x86-64 with Python 3.11 or 3.12; "
        "or install Docker, or put tritonserver on PATH",
    )
