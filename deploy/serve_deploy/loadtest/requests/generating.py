"""From the options of a load test of a language model to its prompts and the requests that carry them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from serve_deploy.arrivals.shapes import Replay
from serve_deploy.endpoint.connection import RefusedError
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.model import Model, model_path
from serve_deploy.endpoint.openai import describe_served_model
from serve_deploy.endpoint.readiness import Speech
from serve_deploy.errors import UsageError
from serve_deploy.generation.asking import SAMPLING_PARAMETERS, Asking, GenerationProtocol
from serve_deploy.loadtest.options import GenerationOptions, LoadTestOptions
from serve_deploy.loadtest.requests.prompting import GrpcWire, HttpWire, Prompting, Wire
from serve_deploy.option import changed_fields
from serve_deploy.prompts.prompt import PromptSet
from serve_deploy.prompts.reading import read_prompts
from serve_deploy.tensors.types import DataType

# What a request of a plain load test may hold; a language model is sent prompts.
_PLAIN = (
    "batch_size", "data", "expected", "repository", "validate", "shapes", "string_length", "sequence_length",
    "streaming", "shared_memory",
)  # fmt: skip
# What a load test says in each request itself, and by which option.
_SET_HERE = {
    "model": "it is `model`",
    "messages": "they are `prompts`",
    "prompt": "it is of `prompts`",
    "max_tokens": "set it with `max_tokens`",
    "stream": "answers are always streamed",
    "streaming": "answers are always streamed",
    "n": "a request asks for one answer",
}
_HARMLESS = (("max_tokens", None), ("n", 1))


@dataclass(frozen=True, kw_only=True)
class AskedModel:
    """Whom a load test of a language model asks, by which protocol, and what the server says of itself."""

    protocol: GenerationProtocol
    model: Model
    server_version: str

    @property
    def speaks_triton(self) -> bool:
        """Whether it can be asked for statistics and the like."""
        return self.protocol in ("triton", "grpc")


def which_protocol(options: LoadTestOptions) -> Speech:
    """Whose protocol the server must have for what is asked for."""
    if options.endpoint.protocol == "grpc" or options.generation.generate in (None, "triton"):
        return "triton"
    return "either" if options.generation.generate == "auto" else "openai"


def describe_model(options: LoadTestOptions, control: ControlPlane, timeout_seconds: float) -> AskedModel:
    """Ask the server about the model; an OpenAI-compatible one is not asked anything of Triton's protocol."""
    generate, speaks = options.generation.generate, which_protocol(options)
    if speaks == "openai":
        return _describe_openai(options, "completions" if generate == "completions" else "chat", timeout_seconds)
    try:
        version = str(control.server_metadata().get("version", ""))
    except RefusedError:
        if speaks == "triton":
            raise
        return _describe_openai(options, "chat", timeout_seconds)
    model = control.describe_model(options.model, options.model_version)
    _check_tensors(options.generation, model)
    _check_parameters(options.generation.parameters, model)
    return AskedModel(
        protocol="grpc" if options.endpoint.protocol == "grpc" else "triton", model=model, server_version=version
    )


def _describe_openai(options: LoadTestOptions, protocol: GenerationProtocol, timeout_seconds: float) -> AskedModel:
    if options.model_version:
        raise UsageError("`model_version`: OpenAI's protocol has no versions")
    model = describe_served_model(options.endpoint, options.model, timeout_seconds=timeout_seconds)
    return AskedModel(protocol=protocol, model=model, server_version="")


def _check_tensors(generation: GenerationOptions, model: Model) -> None:
    for name, tensors in (("text_input", model.inputs), ("text_output", model.outputs)):
        asked, names = getattr(generation, name), {tensor.name: tensor.data_type.value for tensor in tensors}
        if names.get(asked) != "BYTES":
            kind = "input" if name == "text_input" else "output"
            raise UsageError(
                f"model {model.name} has no {kind} '{asked}' of text",
                hint=f"name it with `{name}`; its {kind}s are " + "; ".join(map(str, tensors)),
            )


def choose_prompts(options: LoadTestOptions) -> PromptSet:
    """The prompts to send; of a trace no more than the test lasts."""
    return read_prompts(
        options.generation.prompts,
        seed=options.seed,
        duration_seconds=options.duration_seconds,
        requests=options.requests,
    )


def replay_arrivals(options: LoadTestOptions, prompts: PromptSet) -> LoadTestOptions:
    """The options with the arrivals of a trace as their load; UsageError where another load was asked for."""
    if prompts.arrivals is None:
        return options
    if options.loads != LoadTestOptions.__dataclass_fields__["loads"].default:
        raise UsageError("`trace` says when requests are sent", hint="leave out the load")
    trace = options.generation.prompts.trace
    return replace(options, loads=(Replay(prompts.arrivals, trace.name if trace else "trace"),))


def _check_parameters(parameters: Sequence[tuple[str, Any]], model: Model) -> None:
    """UsageError for what Triton takes neither as a parameter of a request nor as an input of one value."""
    types = {tensor.name: tensor.data_type for tensor in model.inputs}
    if SAMPLING_PARAMETERS in types:
        return
    for name, value in parameters:
        if isinstance(value, list | dict):
            raise UsageError(
                f"`parameters={name}=…`: {model.name} takes no list or object",
                hint=f"only an input {SAMPLING_PARAMETERS}, as vLLM's backend has it, takes them",
            )
        if name in types and value is not None:
            _check_value(name, value, types[name])


def _check_value(name: str, value: Any, data_type: DataType) -> None:
    try:
        np.array([value], data_type.numpy_name)
    except (ValueError, TypeError, OverflowError):
        raise UsageError(
            f"`parameters={name}={value}`: the input takes {data_type.value}", hint="give a value of that type"
        ) from None


def build_prompting(options: LoadTestOptions, asked: AskedModel, prompts: PromptSet) -> Prompting:
    """The requests, ready to be handed to the workers."""
    generation = options.generation
    asking = Asking(
        protocol=asked.protocol,
        model=options.model,
        max_tokens=generation.max_tokens,
        ignore_eos=generation.ignore_eos,
        parameters=dict(generation.parameters),
        text_input=generation.text_input,
        text_output=generation.text_output,
        inputs=frozenset(tensor.name for tensor in asked.model.inputs),
    )
    return Prompting(
        prompts.conversations,
        asking,
        _build_wire(options, asked, asking),
        starts_again=prompts.arrivals is not None,
        counts_tokens=generation.prompts.tokenizer is not None,
    )


def _build_wire(options: LoadTestOptions, asked: AskedModel, asking: Asking) -> Wire:
    if asked.protocol == "triton":
        path = f"{model_path(options.model, options.model_version)}/generate_stream"
        return HttpWire(options.endpoint, path, has_ids=True)
    if asked.protocol == "grpc":
        return GrpcWire(asked.model, options.model_version, options.endpoint.compression)
    return HttpWire(options.endpoint, asking.path, has_ids=False)


def check_generation(options: LoadTestOptions) -> None:
    """UsageError where options of a plain load test and those of a language model do not fit together."""
    generation = options.generation
    if generation.generate is None:
        changed = next(chain(changed_fields(generation.prompts), changed_fields(generation)), None)
        if changed:
            raise UsageError(f"`{changed}` is about token streams", hint="measure them with `generate`")
        return
    changed = next((name for name in changed_fields(options) if name in _PLAIN), None)
    if changed:
        raise UsageError(f"`{changed}` and `generate` exclude each other", hint="a language model is sent prompts")
    if options.endpoint.protocol == "grpc" and generation.generate != "auto":
        raise UsageError(
            f"`generate={generation.generate}` is a protocol over HTTP", hint="use `generate=auto` with a gRPC endpoint"
        )
    if options.endpoint.compression and options.endpoint.protocol == "http":
        raise UsageError("`compression` with `generate` works over gRPC only")
    for name, value in generation.parameters:
        reason = "it is of `prompts`" if name == generation.text_input else _SET_HERE.get(name)
        if reason and (name, value) not in _HARMLESS:
            raise UsageError(f"`parameters={name}=…` would change what is measured", hint=reason)
