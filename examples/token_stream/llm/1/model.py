"""Streams words on a known clock, as Triton's vLLM backend streams tokens.

README.md beside the repository lists what a request may ask for.
"""

import asyncio
import itertools
import json
import random
import re
import threading
import time
from dataclasses import dataclass, field, fields

import numpy as np
import triton_python_backend_utils as pb_utils
from vllm_metrics import Metrics

TEXT = " the river bends at the old mill and the miller’s café serves naïve travellers 茶 and 🍵 until dusk"
WORDS = tuple(re.findall(r" \S+", TEXT))
FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


@dataclass(frozen=True)
class Sampling:
    """What `sampling_parameters` may hold and this model heeds; the other parameters of vLLM change nothing here."""

    max_tokens: int = 16
    ignore_eos: bool = False
    eos_at: int | None = None
    ttft_ms: float = 50.0
    itl_ms: float = 10.0
    jitter_seed: int | None = None
    stall_at: int | None = None
    stall_ms: float = 0.0
    stall_prompt: str = ""
    fail_at: int | None = None
    final_alone: bool = False

    @property
    def tokens(self):
        return self.max_tokens if self.ignore_eos or self.eos_at is None else min(self.max_tokens, self.eos_at)

    def due(self, prompt):
        """When each token is due, in seconds from the start of the request."""
        jitter, due = random.Random(f"{self.jitter_seed} {prompt}"), self.ttft_ms
        stall_at = self.stall_at if self.stall_prompt in prompt else None
        for index in itertools.count():
            due += self.stall_ms if index == stall_at else 0.0
            yield due / 1e3
            due += self.itl_ms * (1.0 if self.jitter_seed is None else jitter.uniform(0.5, 1.5))


@dataclass(eq=False)
class Stream:
    """One request, and when its tokens were sent by the machine's monotonic clock, in seconds."""

    id: str
    prompt: str
    sender: object
    sampling: Sampling
    streams: bool
    excludes_input: bool
    returned: frozenset
    received: float
    sent: list = field(default_factory=list)
    outcome: str = "finished"
    ended: float = 0.0

    @property
    def input_tokens(self):
        return len(self.prompt.split())

    def send(self, text, tokens, *, is_last):
        """Send text that stands for so many tokens; a request without `stream` gets one response."""
        reason = "None" if not is_last else "stop" if self.sampling.tokens < self.sampling.max_tokens else "length"
        values = {
            "finish_reason": np.array([reason.encode()], np.object_),
            "num_input_tokens": np.array([self.input_tokens], np.uint32),
            "num_output_tokens": np.array([tokens], np.uint32),
        }
        outputs = [pb_utils.Tensor("text_output", np.array([text.encode()], np.object_))]
        outputs += [pb_utils.Tensor(name, value) for name, value in values.items() if name in self.returned]
        is_final = is_last and not self.sampling.final_alone
        self.sender.send(pb_utils.InferenceResponse(outputs), flags=FINAL if is_final else 0)
        if is_last and not is_final:
            self.sender.send(flags=FINAL)

    def fail(self, message):
        self.sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError(message)), flags=FINAL)
        self.outcome = "failed"


class TritonPythonModel:
    def initialize(self, args):
        given = json.loads(args["model_config"])["parameters"]
        self._parameters = {name: value["string_value"] for name, value in given.items()}
        self._defaults = {name: float(self._parameters[name]) for name in ("ttft_ms", "itl_ms")}
        self._running = asyncio.Semaphore(int(self._parameters["max_num_seqs"]))
        self._metrics = Metrics({"model": args["model_name"], "version": args["model_version"]})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def execute(self, requests):
        received = time.monotonic()
        for request in requests:
            sender = request.get_response_sender()
            try:
                stream = self._read(request, sender, received)
            except (ValueError, TypeError) as error:
                failure = pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
                sender.send(failure, flags=FINAL)
                continue
            asyncio.run_coroutine_threadsafe(self._run(stream), self._loop)

    def finalize(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._metrics.close()

    def _read(self, request, sender, received):
        def flag(name, default=False):
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            return default if tensor is None else bool(tensor.as_numpy().item())

        def text(name, default=""):
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            return default if tensor is None else tensor.as_numpy().item().decode()

        asked = json.loads(text("sampling_parameters", "{}"))
        known = {entry.name for entry in fields(Sampling)}
        sampling = Sampling(**self._defaults | {name: value for name, value in asked.items() if name in known})
        if sampling.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {sampling.max_tokens}.")
        streams = flag("stream")
        excludes_input = flag("exclude_input_in_output", streams)
        if streams and not excludes_input:
            raise ValueError("When streaming, `exclude_input_in_output` = False is not allowed.")
        optional = ("finish_reason", "num_input_tokens", "num_output_tokens")
        returned = frozenset(name for name in optional if flag(f"return_{name}"))
        prompt = text("text_input")
        return Stream(request.request_id(), prompt, sender, sampling, streams, excludes_input, returned, received)

    async def _run(self, stream):
        self._metrics.begin(stream)
        async with self._running:
            start = time.monotonic()
            for index, due in zip(range(stream.sampling.tokens), stream.sampling.due(stream.prompt), strict=False):
                await asyncio.sleep(start + due - time.monotonic())
                if stream.sender.is_cancelled():
                    stream.outcome = "cancelled"
                    stream.sender.send(flags=FINAL)
                    break
                if index == stream.sampling.fail_at:
                    stream.fail(f"failed at token {index}, as asked")
                    break
                stream.sent.append(time.monotonic())
                self._send(stream, index)
        stream.ended = time.monotonic()
        self._metrics.end(stream)
        self._write_log(stream)

    def _send(self, stream, index):
        is_last = index == stream.sampling.tokens - 1
        if stream.streams:
            stream.send(WORDS[index % len(WORDS)], 1, is_last=is_last)
        elif is_last:
            words = "".join(itertools.islice(itertools.cycle(WORDS), stream.sampling.tokens))
            stream.send(words if stream.excludes_input else stream.prompt + words, index + 1, is_last=True)

    def _write_log(self, stream):
        if path := self._parameters.get("log"):
            names = ("id", "input_tokens", "received", "sent", "ended", "outcome")
            with open(path, "a") as log:
                log.write(json.dumps({name: getattr(stream, name) for name in names}) + "\n")
