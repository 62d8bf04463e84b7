"""A Triton that crashes at start through no fault of its models is started once more."""

from __future__ import annotations

from pathlib import Path

import pytest
from repositories import add_model

from serve_deploy.errors import TritonStartError
from serve_deploy.triton.options import RuntimeName, ServerOptions
from serve_deploy.triton.runtime import Launch, Ports
from serve_deploy.triton.server import start_server

_CLASH = "terminate called after throwing an instance of 'boost::interprocess::lock_exception'"


class _Crashing:
    """A server that writes a line and crashes."""

    name: RuntimeName = "installed"

    def __init__(self, line: str) -> None:
        self.line = line
        self.starts = 0

    def why_unavailable(self) -> str | None:
        return None

    def prepare(self, _options: ServerOptions, _ports: Ports, _server_id: str, _folder: Path) -> Launch:
        self.starts += 1
        return Launch(("sh", "-c", f'echo "{self.line}" >&2; kill -ABRT $$'))


@pytest.mark.parametrize(("line", "starts"), [(_CLASH, 2), ("terminate called after a bug", 1)])
def test_only_a_clash_of_locks_is_tried_again_and_once(tmp_path: Path, line: str, starts: int) -> None:
    """A second clash is told, and so is the first where the log is shown."""
    add_model(tmp_path, "digits")
    crashing, log = _Crashing(line), []
    with pytest.raises(TritonStartError, match="terminate called after"):
        start_server(ServerOptions(repository=tmp_path), runtimes=(crashing,), on_log=log.append)
    assert crashing.starts == starts
    assert ("serve starts Triton again" in "".join(log)) == (starts > 1)
