"""The requests of a load test of a language model: prompts in rotation, and conversations that go on."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Protocol

import numpy as np

from serve_deploy.endpoint.address import Endpoint
from serve_deploy.endpoint.model import Model
from serve_deploy.endpoint.payload import Sample, grpc_request, http_message
from serve_deploy.generation.asking import Asking
from serve_deploy.generation.pieces import Document
from serve_deploy.loadtest.clients.generation_exchange import PromptRequest
from serve_deploy.loadtest.clients.grpc_messages import frame_message
from serve_deploy.prompts.prompt import Conversation, Message, Turn
from serve_deploy.tensors.types import TensorSpec


class Wire(Protocol):
    """Writes requests as they travel."""

    def write(self, document: Document, request_id: str) -> bytes: ...


@dataclass(frozen=True)
class HttpWire:
    """Whole HTTP requests; `has_ids` where the protocol returns the id that it was given."""

    endpoint: Endpoint
    path: str
    has_ids: bool

    def write(self, document: Document, request_id: str) -> bytes:
        """The document as JSON; with its id, if the protocol has them."""
        if self.has_ids:
            document = {**document, "id": request_id}
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        return http_message(self.endpoint, self.path, headers, json.dumps(document).encode())


@dataclass(frozen=True)
class GrpcWire:
    """Requests of a gRPC stream: what the document names as the model's inputs, and parameters."""

    model: Model
    version: str
    compression: str | None

    def write(self, document: Document, request_id: str) -> bytes:
        """The document as a framed ModelInferRequest."""
        from tritonclient.grpc.service_pb2 import ModelInferRequest

        specs = {tensor.name: tensor for tensor in self.model.inputs}
        arrays = {name: _one_value(specs[name], value) for name, value in document.items() if name in specs}
        parameters = {name: value for name, value in document.items() if name not in specs}
        content = grpc_request(
            self.model,
            self.version,
            Sample(arrays),
            parameters={**parameters, "triton_enable_empty_final_response": True},
        )
        # Concatenating messages merges them.
        return frame_message(content + ModelInferRequest(id=request_id).SerializeToString(), self.compression)


def _one_value(tensor: TensorSpec, value: Any) -> np.ndarray[Any, Any]:
    content = value.encode() if isinstance(value, str) else value
    return np.array([content], tensor.data_type.numpy_name).reshape((1,) * len(tensor.shape))


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation that has come as far as its turn with this index; `history` is what was said before."""

    speaker: Speaker
    conversation: Conversation
    index: int = 0
    history: tuple[Message, ...] = ()

    @property
    def turn(self) -> Turn:
        """The turn whose answer is awaited."""
        return self.conversation.turns[self.index]

    @property
    def known_input_tokens(self) -> float:
        """The tokens of the first turn, by the tokenizer; NaN where they are not known."""
        count = self.turn.input_tokens if self.speaker.counts_tokens and not self.index else None
        return math.nan if count is None else float(count)

    def go_on(self, answer: str, now: float) -> float:
        """Make the next turn ready; the time at which it is to be sent, 0 where this was the last one."""
        if self.index + 1 == len(self.conversation.turns):
            return 0.0
        history = (*self.history, *self.turn.messages, Message("assistant", answer))
        due = now + self.conversation.think_seconds
        self.speaker.resume(replace(self, index=self.index + 1, history=history), due)
        return due


class Speaker:
    """One worker's part of the conversations: begins the next one, unless one that goes on is due."""

    def __init__(self, prompting: Prompting, worker: int, workers: int) -> None:
        self._prompting = prompting
        self.counts_tokens = prompting.counts_tokens
        self._worker, self._workers = worker, workers
        self._numbers = itertools.count(worker, workers)
        self._turns = itertools.count()
        self._next_start = worker
        self._ready: PromptRequest | None = None
        self._due: list[tuple[float, int, PromptRequest]] = []

    def __call__(self) -> Callable[[], PromptRequest]:
        """Requests for a slot; all slots share them."""
        return self.next

    def begin(self) -> None:
        """A new period: conversations of the last one do not go on; a trace starts again."""
        self._due.clear()
        if self._prompting.starts_again:
            self._ready, self._next_start = None, self._worker
        self._prepare()

    def put_back(self, request: PromptRequest) -> None:
        """This request was not taken, and is the next one to be sent."""
        heapq.heappush(self._due, (0.0, next(self._turns), request))

    def skip(self, count: int) -> None:
        """So many arrivals of a trace were given up; those that follow keep their own lengths."""
        if self._prompting.starts_again and count:
            made, self._ready = self._ready is not None, None
            self._next_start += (count - made) * self._workers

    def next(self) -> PromptRequest:
        """The request to send now."""
        if self._due and self._due[0][0] <= monotonic():
            return heapq.heappop(self._due)[2]
        # Made before it is due: what that takes must not look like the server's time.
        request, self._ready = self._ready or self._start(), None
        asyncio.get_running_loop().call_soon(self._prepare)
        return request

    def _prepare(self) -> None:
        self._ready = self._ready or self._start()

    def _start(self) -> PromptRequest:
        conversations, start = self._prompting.conversations, self._next_start
        self._next_start += self._workers
        return self._build(Talk(self, conversations[start % len(conversations)]))

    def resume(self, talk: Talk, due: float) -> None:
        """Have this turn sent at that time."""
        heapq.heappush(self._due, (due, next(self._turns), self._build(talk)))

    def _build(self, talk: Talk) -> PromptRequest:
        asking, turn = self._prompting.asking, talk.turn
        most = turn.output_tokens or asking.max_tokens
        request_id = f"{next(self._numbers):010d}"
        document = asking.document((*talk.history, *turn.messages), most)
        return PromptRequest(
            self._prompting.wire.write(document, request_id), answer=asking.answer(request_id, most), talk=talk
        )


@dataclass(frozen=True)
class Prompting:
    """All conversations in rotation, a worker's being every `workers`-th; a trace `starts_again` with each period.

    `counts_tokens`: the lengths of the prompts are by the model's own tokenizer.
    """

    conversations: Sequence[Conversation]
    asking: Asking
    wire: Wire
    starts_again: bool = False
    counts_tokens: bool = False

    def open(self, worker: int, workers: int) -> Speaker:
        """One worker's requests."""
        return Speaker(self, worker, workers)
