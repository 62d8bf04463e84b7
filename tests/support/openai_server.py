"""An OpenAI-compatible server that streams words on a known clock and logs when it sent them, in a process of its own.

A request may set the clock as for examples/token_stream: `ttft_ms`, `itl_ms`, `jitter_seed`, `stall_at`, `stall_ms`,
`stall_prompt`, `eos_at`; without them the tokens come after 50 ms and every 10 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXT = " the river bends at the old mill and the miller’s café serves naïve travellers 茶 and 🍵 until dusk"
WORDS = tuple(f" {word}" for word in TEXT.split())
DEFAULT_TOKENS = 16
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
NUMBERS = itertools.count()


def chunk(data: bytes) -> bytes:
    """Bytes as one chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def document(content: Any, status: str = "200 OK") -> bytes:
    """A whole reply in JSON."""
    body = json.dumps(content).encode()
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass(frozen=True)
class Asked:
    """A request for a completion, and the events that answer it."""

    id: str
    path: str
    body: dict[str, Any]

    @property
    def is_chat(self) -> bool:
        return self.path.endswith("/chat/completions")

    @property
    def tokens(self) -> int:
        most = self.body.get("max_completion_tokens") or self.body.get("max_tokens") or DEFAULT_TOKENS
        return int(most if self.body.get("ignore_eos") else min(most, self.body.get("eos_at", most)))

    @property
    def prompts(self) -> list[str]:
        return [message["content"] for message in self.body["messages"]] if self.is_chat else [self.body["prompt"]]

    @property
    def input_tokens(self) -> int:
        return sum(len(text.split()) for text in self.prompts)

    def due(self) -> Iterator[float]:
        """When each token is due, in seconds from the start of the request."""
        number, seed, prompt = self.body.get, self.body.get("jitter_seed"), " ".join(self.prompts)
        jitter, due = random.Random(f"{seed} {prompt}"), float(number("ttft_ms", 50))
        stall_at = number("stall_at") if number("stall_prompt", "") in prompt else None
        for index in range(self.tokens):
            due += number("stall_ms", 0) if index == stall_at else 0
            yield due / 1e3
            due += number("itl_ms", 10) * (1 if seed is None else jitter.uniform(0.5, 1.5))

    def event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        """One event of the stream."""
        kind = "chat.completion.chunk" if self.is_chat else "text_completion"
        content = {"id": self.id, "object": kind, "created": 1, "model": self.body["model"], "choices": choices, **more}
        return b"data: %b\n\n" % json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()

    def role(self) -> bytes:
        """What a chat begins with, before there is any content."""
        delta = {"role": "assistant", "content": ""}
        return self.event([{"index": 0, "delta": delta, "finish_reason": None}]) if self.is_chat else b""

    def token(self, index: int) -> bytes:
        """The event of one token."""
        text = WORDS[index % len(WORDS)]
        said: dict[str, Any] = {"delta": {"content": text}} if self.is_chat else {"text": text}
        return self.event([{"index": 0, **said, "finish_reason": None}])

    def end(self) -> Iterator[bytes]:
        """What comes after the last token: why it ended, the usage where asked for, the end mark."""
        reason = "length" if self.tokens == self.body.get("max_tokens", DEFAULT_TOKENS) else "stop"
        said: dict[str, Any] = {"delta": {}} if self.is_chat else {"text": ""}
        yield self.event([{"index": 0, **said, "finish_reason": reason}])
        if (self.body.get("stream_options") or {}).get("include_usage"):
            yield self.event([], usage=self.usage())
        yield b"data: [DONE]\n\n"

    def usage(self) -> dict[str, int]:
        """The tokens that were read and written."""
        counts = {"prompt_tokens": self.input_tokens, "completion_tokens": self.tokens}
        return counts | {"total_tokens": sum(counts.values())}


class Connection(asyncio.Protocol):
    """Answers one client on the clock; writes a line to the log for each stream that ended."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._received = 0.0
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        # Only the time is taken now, so that of many requests at once none seems to have come later than it did.
        self._received = time.monotonic()
        self._buffer += data
        self._loop.call_soon(self._take)

    def connection_lost(self, error: Exception | None) -> None:
        if self._task:
            self._task.cancel()

    def _take(self) -> None:
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if not separator or (length and len(body) < int(length[1])):
            return
        self._buffer = b""
        path = head.split()[1].decode()
        if path == "/v1/models":
            self._transport.write(document({"object": "list", "data": [{"id": "llm", "object": "model"}]}))
        elif path in ("/v1/chat/completions", "/v1/completions"):
            asked = Asked(f"cmpl-{next(NUMBERS)}", path, json.loads(body))
            self._task = self._loop.create_task(self._stream(asked, self._received))
        else:
            self._transport.write(document({"detail": "Not Found"}, "404 Not Found"))

    async def _stream(self, asked: Asked, received: float) -> None:
        sent: list[float] = []
        outcome = "cancelled"
        try:
            self._transport.write(STREAM_HEAD + (chunk(asked.role()) if asked.is_chat else b""))
            for index, due in enumerate(asked.due()):
                await asyncio.sleep(received + due - time.monotonic())
                data = chunk(asked.token(index))
                sent.append(time.monotonic())
                self._transport.write(data)
            self._transport.write(b"".join(map(chunk, asked.end())) + LAST_CHUNK)
            outcome = "finished"
        finally:
            line = {"id": asked.id, "input_tokens": asked.input_tokens, "received": received, "sent": sent}
            with self._log.open("a") as log:
                log.write(json.dumps({**line, "ended": time.monotonic(), "outcome": outcome}) + "\n")


@dataclass(frozen=True)
class RunningServer:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    log: Path


@contextmanager
def running_openai_server(log: Path) -> Iterator[RunningServer]:
    """Run the server on a free port while the context lasts; read its log with `read_streams`."""
    log.touch()
    command = [sys.executable, __file__, str(log)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield RunningServer(process, process.stdout.readline().strip(), log)
        finally:
            process.terminate()


async def run(log: Path) -> None:
    """Serve on a free port, and print the address, until SIGTERM."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(log), "127.0.0.1", 0, backlog=1024)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201
    await ended.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("log", type=Path)
    asyncio.run(run(parser.parse_args().log))
