"""What a request for an answer says, as a document of its protocol. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from serve_deploy.generation.answer import Answer
from serve_deploy.generation.event_answer import EventAnswer
from serve_deploy.generation.pieces import Document, ReadPiece, read_chat, read_completion, triton_reader

GenerationProtocol = Literal["triton", "chat", "completions", "grpc"]
# Names that Triton's backends have for the same input.
_STREAM = ("stream", "streaming")
_MOST_TOKENS = ("max_tokens", "sampling_param_max_tokens")
SAMPLING_PARAMETERS = "sampling_parameters"
# vLLM's backend counts the tokens of each response where it is asked to.
_WANTED = ("exclude_input_in_output", "return_num_input_tokens", "return_num_output_tokens")


class Message(Protocol):
    """What one side said; `role` is OpenAI's."""

    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How every request of a run asks; `inputs` are the model's where Triton tells them.

    `parameters` are sampling parameters; None leaves out what would be sent otherwise. `max_tokens` is the most tokens
    of an answer where a prompt does not say.
    """

    protocol: GenerationProtocol
    model: str
    max_tokens: int | None = None
    ignore_eos: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    text_input: str = "text_input"
    text_output: str = "text_output"
    inputs: frozenset[str] = frozenset()

    @property
    def path(self) -> str:
        """Where OpenAI's protocols are asked."""
        return "/v1/chat/completions" if self.protocol == "chat" else "/v1/completions"

    def document(self, messages: Sequence[Message], most_tokens: int | None) -> Document:
        """The body of a request: of Triton's protocols, inputs by name, and the parameters of the request."""
        sampling = {
            **({} if most_tokens is None else {"max_tokens": most_tokens}),
            **({"ignore_eos": True} if self.ignore_eos else {}),
            **self.parameters,
        }
        text = "\n".join(message.content for message in messages)
        if self.protocol in ("triton", "grpc"):
            return {self.text_input: text, **self._triton_inputs(_present(sampling))}
        asked: Document = {"prompt": text}
        if self.protocol == "chat":
            said = [{"role": message.role, "content": message.content} for message in messages]
            asked = {"messages": said}
        return {"model": self.model, **asked, **_present({**_STREAMED, **sampling})}

    def _triton_inputs(self, sampling: Document) -> Document:
        asked: Document = {name: True for name in (*_STREAM, *_WANTED) if name in self.inputs}
        if SAMPLING_PARAMETERS in self.inputs:
            return {**asked, SAMPLING_PARAMETERS: json.dumps(sampling)}
        most = next((name for name in _MOST_TOKENS if name in self.inputs), "max_tokens")
        return {**asked, **{most if name == "max_tokens" else name: value for name, value in sampling.items()}}

    def answer(self, request_id: str, most_tokens: int | None) -> Answer:
        """Something that reads the stream of one answer."""
        if self.protocol == "grpc":
            return Answer(request_id, most_tokens)
        return EventAnswer(
            request_id, self._read_piece(), has_end_mark=self.protocol != "triton", most_tokens=most_tokens
        )

    def _read_piece(self) -> ReadPiece:
        if self.protocol == "triton":
            return triton_reader(self.text_output)
        return read_chat if self.protocol == "chat" else read_completion


def _present(document: Document) -> Document:
    return {name: value for name, value in document.items() if value is not None}


_STREAMED: Document = {"stream": True, "stream_options": {"include_usage": True}}
