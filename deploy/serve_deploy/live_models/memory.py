"""What the models of a server on this machine take of its memory: each of Python's has processes of its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import PurePath

from serve_deploy.endpoint.address import Endpoint
from serve_deploy.endpoint.local_server import find_server, read_command, read_family, read_memory_bytes

_STUB = "triton_python_backend_stub"


@dataclass(frozen=True)
class LocalMemory:
    """Bytes of all processes of the server, and of those that run each version; None where it runs elsewhere."""

    server_bytes: int | None = None
    versions: dict[tuple[str, str], int] = field(default_factory=dict)


def read_local_memory(endpoint: Endpoint, versions: Collection[tuple[str, str]]) -> LocalMemory:
    """The memory of a server that runs here, by version where a process can be told to belong to one."""
    pid = find_server(endpoint.host, endpoint.port)
    memory = {each: read_memory_bytes(each) or 0 for each in read_family(pid)} if pid else {}
    if not any(memory.values()):
        return LocalMemory()
    found: dict[tuple[str, str], int] = {}
    for each, used in memory.items():
        owner = find_owner(read_command(each), versions)
        if owner:
            found[owner] = found.get(owner, 0) + used
    return LocalMemory(sum(memory.values()), found)


def find_owner(command: list[str], versions: Collection[tuple[str, str]]) -> tuple[str, str] | None:
    """The version that a process of Triton's Python backend runs, by the file or the instance in its command line."""
    if not command or not command[0].endswith(_STUB):
        return None
    for word in command[1:]:
        path = PurePath(word)
        if path.name and (owner := (path.parent.parent.name, path.parent.name)) in versions:
            return owner
    # A backend written in Python has its own file; then only the instance's name tells, such as digits_0_0.
    models = {model for model, _ in versions}
    instances = [word.rsplit("_", 2)[0] for word in command[1:] if word.count("_") >= 2]
    model = next((name for name in instances if name in models), None)
    of_model = [each for each in versions if each[0] == model]
    return of_model[0] if len(of_model) == 1 else None
