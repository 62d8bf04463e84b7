"""The simulated language model of examples/token_stream, with a log of what it sent."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "token_stream"


@dataclass(frozen=True)
class SentStream:
    """What the server did with one request; times in seconds of the machine's monotonic clock."""

    id: str
    input_tokens: int
    received: float
    sent: tuple[float, ...]
    ended: float
    outcome: str

    @property
    def first_token_seconds(self) -> float:
        return self.sent[0] - self.received

    @property
    def gaps_seconds(self) -> tuple[float, ...]:
        return tuple(later - earlier for earlier, later in zip(self.sent, self.sent[1:], strict=False))


def write_token_stream(folder: Path, **parameters: object) -> Path:
    """Copy the model repository into a folder, with other parameters in its configuration; return where its log is."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    log, config = folder / "streams.jsonl", folder / "llm" / "config.pbtxt"
    log.touch()
    lines = [line for line in config.read_text().splitlines() if not any(f'"{name}"' in line for name in parameters)]
    for name, value in {"log": log, **parameters}.items():
        lines.append(f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}')
    config.write_text("\n".join(lines) + "\n")
    return log


def wait_for_stream(log: Path, id: str) -> SentStream:
    """A request's line of the log, which is written just after its last token has left."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        for stream in read_streams(log):
            if stream.id == id:
                return stream
        time.sleep(0.01)
    raise TimeoutError(id)


def read_streams(log: Path) -> list[SentStream]:
    """The requests that ended, in the order in which they came."""
    lines = map(json.loads, log.read_text().rpartition("\n")[0].splitlines())
    streams = [SentStream(**{**line, "sent": tuple(line["sent"])}) for line in lines]
    return sorted(streams, key=lambda stream: stream.received)
