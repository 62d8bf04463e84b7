"""The simulated language model, on a real Triton: its clock, its metrics, and how its streams end."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from token_stream import wait_for_stream, write_token_stream
from tritonclient import grpc as tritonclient

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.errors import UsageError
from serve_deploy.inference.options import InferenceOptions
from serve_deploy.inference.request import infer
from serve_deploy.triton import TritonServer


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the model writes down what it sent."""
    return write_token_stream(tmp_path_factory.mktemp("token_stream") / "models", ttft_ms=20, itl_ms=5, max_num_seqs=4)


@pytest.fixture(scope="module")
def server(triton_server: Callable[..., TritonServer], log: Path) -> TritonServer:
    """A Triton with the model."""
    return triton_server(log.parent)


def body(stream: bool, id: str, inputs: dict[str, Any], sampling: dict[str, Any]) -> bytes:
    asked = {"id": id, "text_input": "one two three", "stream": stream, "sampling_parameters": json.dumps(sampling)}
    return json.dumps(asked | inputs).encode()


def stream_text(server: TritonServer, id: str = "", inputs: dict[str, Any] | None = None, **sampling: Any) -> str:
    """The body of a streamed answer."""
    url = f"{server.http_url}/v2/models/llm/generate_stream"
    with urllib.request.urlopen(url, body(True, id, inputs or {}, sampling), timeout=120) as reply:
        return str(reply.read().decode())


def pieces(text: str) -> list[dict[str, Any]]:
    return [json.loads(event.removeprefix("data: ")) for event in text.split("\n\n") if event]


def test_tokens_leave_no_sooner_than_the_clock_says(server: TritonServer, log: Path) -> None:
    """First token after 20 ms, others every 5 ms, one of them 60 ms late with all that follow."""
    answer = pieces(stream_text(server, "clock", max_tokens=8, stall_at=5, stall_ms=60))
    assert "".join(piece["text_output"] for piece in answer) == " the river bends at the old mill and"
    stream = wait_for_stream(log, "clock")
    due = 0.02 + 0.005 * np.arange(8) + np.where(np.arange(8) >= 5, 0.06, 0)
    late = np.array(stream.sent) - stream.received - due
    assert (late >= 0).all()
    assert (stream.outcome, stream.input_tokens) == ("finished", 3)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_serve_infer_says_what_asks_a_stream(server: TritonServer, protocol: str) -> None:
    """It reads one answer; Triton's own refusal would only say that the endpoint does not do it."""
    options = InferenceOptions(endpoint=parse_endpoint(getattr(server, f"{protocol}_url")), model="llm", random=True)
    with pytest.raises(UsageError, match="llm is decoupled") as refusal:
        infer(options)
    assert "/v2/models/llm/generate_stream" in refusal.value.hint


def test_usage_and_finish_reason_come_where_asked(server: TritonServer) -> None:
    """Each response says its own tokens; the last one says why it ended."""
    inputs = {"return_num_input_tokens": True, "return_num_output_tokens": True, "return_finish_reason": True}
    first, last = pieces(stream_text(server, inputs=inputs, max_tokens=9, eos_at=2))
    assert (first["num_input_tokens"], first["num_output_tokens"], first["finish_reason"]) == (3, 1, "None")
    assert (last["num_output_tokens"], last["finish_reason"]) == (1, "stop")
    ignoring = pieces(stream_text(server, inputs=inputs, max_tokens=3, eos_at=2, ignore_eos=True))
    assert [piece["finish_reason"] for piece in ignoring] == ["None", "None", "length"]


def test_without_streaming_one_response_holds_prompt_and_text(server: TritonServer) -> None:
    """As in vLLM, the prompt comes first unless it is excluded."""
    url = f"{server.http_url}/v2/models/llm/generate"
    texts = []
    for inputs in ({}, {"exclude_input_in_output": True}):
        with urllib.request.urlopen(url, body(False, "", inputs, {"max_tokens": 2}), timeout=120) as reply:
            texts.append(json.load(reply)["text_output"])
    assert texts == ["one two three the river", " the river"]


@pytest.mark.parametrize("sampling", ["{", '{"max_tokens": 0}', '{"max_tokens": "many"}'])
def test_what_cannot_be_sampled_is_refused(server: TritonServer, sampling: str) -> None:
    """An error in the first response is a 400."""
    request = json.dumps({"text_input": "one", "stream": True, "sampling_parameters": sampling}).encode()
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(f"{server.http_url}/v2/models/llm/generate_stream", request, timeout=120)
    with refusal.value:
        assert refusal.value.code == 400


def test_an_error_inside_a_stream_comes_after_its_tokens(server: TritonServer, log: Path) -> None:
    """HTTP 200, three tokens, and a last piece that says the error."""
    answer = pieces(stream_text(server, "failing", fail_at=3))
    assert ["error" in piece for piece in answer] == [False, False, False, True]
    assert "failed at token 3, as asked" in answer[-1]["error"]
    assert wait_for_stream(log, "failing").outcome == "failed"


def test_a_client_that_leaves_cancels_its_stream(server: TritonServer, log: Path) -> None:
    """Long before its thousand tokens were sent."""
    url = f"{server.http_url}/v2/models/llm/generate_stream"
    with urllib.request.urlopen(url, body(True, "left", {}, {"max_tokens": 1000}), timeout=120) as reply:
        reply.readline()
    stream = wait_for_stream(log, "left")
    assert stream.outcome == "cancelled"
    assert len(stream.sent) < 900


def test_requests_beyond_the_running_ones_wait(server: TritonServer, log: Path) -> None:
    """Of five requests of 60 ms, four run at once: the fifth sends its first token after they have ended."""
    with tritonclient.InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as client:
        client.start_stream(lambda result, error: None)
        for index in range(5):
            text = tritonclient.InferInput("text_input", [1], "BYTES")
            text.set_data_from_numpy(np.array([b"one"], np.object_))
            flag = tritonclient.InferInput("stream", [1], "BOOL")
            flag.set_data_from_numpy(np.array([True]))
            sampling = tritonclient.InferInput("sampling_parameters", [1], "BYTES")
            sampling.set_data_from_numpy(np.array([b'{"max_tokens": 9}'], np.object_))
            client.async_stream_infer("llm", [text, flag, sampling], request_id=f"waiting {index}")
        streams = [wait_for_stream(log, f"waiting {index}") for index in range(5)]
        client.stop_stream()
    streams.sort(key=lambda stream: stream.sent[0])
    assert streams[4].sent[0] >= min(stream.sent[-1] for stream in streams[:4])


def test_metrics_have_the_names_of_vllm(server: TritonServer) -> None:
    """With labels model and version; tokens and finished requests add up."""
    before = read_metrics(server)
    stream_text(server, max_tokens=7)
    stream_text(server, max_tokens=7, fail_at=2)
    counts = {"generation_tokens_total": 9, "prompt_tokens_total": 6, "e2e_request_latency_seconds_count": 1,
              "time_to_first_token_seconds_count": 2, "time_per_output_token_seconds_count": 7}  # fmt: skip
    end = time.monotonic() + 300
    while time.monotonic() < end:
        after = read_metrics(server)
        if counts == {name: after[name] - before.get(name, 0) for name in counts}:
            return
        time.sleep(0.01)
    pytest.fail(str(after))


def read_metrics(server: TritonServer) -> dict[str, float]:
    """The figures of the model's own metrics, by their name after `vllm:`."""
    with urllib.request.urlopen(server.metrics_url, timeout=120) as reply:
        text = reply.read().decode()
    lines = re.findall(r'^vllm:(\w+)\{model="llm",version="1"\} (\S+)$', text, re.MULTILINE)
    return {name: float(value) for name, value in lines}
