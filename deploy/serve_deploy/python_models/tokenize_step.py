"""The standard step tokenize: texts to the ids that a tokenizer.json gives them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from serve_deploy.errors import UsageError
from serve_deploy.python_models.settled_step import SettledStep
from serve_deploy.python_models.step_settings import StepSettings, read_beside, read_settings
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

_STEP = "tokenize"
_UNLIMITED = 1_000_000  # what transformers writes for a tokenizer without a limit is far above
_TEXTS = (
    "A quick brown fox jumps over the lazy dog.",
    "It was the best of times, it was the worst of times",
    "naïve café – 日本語, emoji 🙂",
    "no",
)
_Part = Literal["input_ids", "attention_mask", "token_type_ids"]
_Positive = Annotated[int, Field(ge=1)]


class TokenizeSettings(StepSettings):
    """A tokenizer_config.json beside the tokenizer is read as well."""

    input: str = Field(default="text", description="the name of the input")
    output: str = Field(default="", description="the name of the first output, in place of its own")
    tokenizer: str = Field(default="tokenizer.json", description="a tokenizer.json")
    max_length: _Positive | None = Field(default=None, description="the most tokens of a text; what is longer is cut")
    padding: Literal["longest", "max_length"] = Field(
        default="longest", description="how long the rows of a request are"
    )
    multiple_of: _Positive | None = Field(default=None, description="a number that lengths are multiples of")
    pad_token: str | None = Field(default=None, description="the token to pad with")
    outputs: tuple[_Part, ...] = Field(
        default=("input_ids", "attention_mask", "token_type_ids"),
        min_length=1,
        description="a list of what the model takes",
    )
    pair: str | None = Field(default=None, description="the name of a second input, for pairs of texts")
    type: Literal["int64", "int32"] = Field(default="int64", description="the type of the outputs")


def settle_tokenize(given: Mapping[str, object], folder: Path) -> SettledStep:
    """Outputs [N, L]; with `padding: longest` each request is a call of its own, since its L is its own."""
    settings = read_settings(TokenizeSettings, _STEP, given)
    content = read_beside(folder, settings.tokenizer, _STEP, "tokenizer")
    tokenizer, document = _open_tokenizer(content, folder / settings.tokenizer)
    config = _read_config(folder / settings.tokenizer)
    longest = _find_max_length(settings, document, config)
    fixed = settings.padding == "max_length"
    if settings.multiple_of and fixed and longest % settings.multiple_of:
        raise UsageError(f"{_STEP}: `max_length` {longest} is no multiple of `multiple_of` {settings.multiple_of}")
    padding = _find_padding(settings, document, config, tokenizer)
    names = [settings.input, *([settings.pair] if settings.pair else [])]
    inputs = tuple(TensorSpec(name, DataType.BYTES, (-1, 1)) for name in names)
    kind = DataType.INT64 if settings.type == "int64" else DataType.INT32
    first, *others = settings.outputs
    tensors = [settings.output or first, *others]
    outputs = tuple(TensorSpec(name, kind, (-1, longest if fixed else -1)) for name in tensors)
    read = {
        "type": settings.type,
        "outputs": settings.outputs,
        "truncation": {**_truncation(document), "max_length": longest},
        "padding": {**padding, "length": longest if fixed else None, "pad_to_multiple_of": settings.multiple_of},
    }
    samples = tuple({name: _request(text) for name in names} for text in _TEXTS)
    return SettledStep(
        ModelSignature(inputs, outputs), read, {"tokenizer.json": content}, merges=fixed, samples=samples
    )


def _open_tokenizer(content: bytes, path: Path) -> tuple[Any, dict[str, Any]]:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_buffer(content), json.loads(content)
    except Exception as error:
        raise UsageError(f"{_STEP}: `tokenizer`: {path} is not a tokenizer.json: {error}") from error


def _read_config(tokenizer: Path) -> dict[str, Any]:
    try:
        found = json.loads((tokenizer.parent / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _truncation(document: Mapping[str, Any]) -> dict[str, Any]:
    own = document.get("truncation") or {}
    return {"stride": own.get("stride", 0), "direction": own.get("direction", "Right").lower()}


def _find_max_length(settings: TokenizeSettings, document: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    own = (document.get("truncation") or {}).get("max_length")
    known = config.get("model_max_length")
    found = settings.max_length or (known if isinstance(known, int) and known < _UNLIMITED else None) or own
    if found is None:
        raise UsageError(
            f"{_STEP}: neither {settings.tokenizer} nor a tokenizer_config.json beside it says how long a text may be",
            hint="set `max_length` to the most tokens that the model takes",
        )
    return int(found)


def _find_padding(
    settings: TokenizeSettings, document: Mapping[str, Any], config: Mapping[str, Any], tokenizer: Any
) -> dict[str, Any]:
    """How `enable_padding` is called: the given token, that of the file, or that of the tokenizer's configuration."""
    own = document.get("padding") or {}
    side = config.get("padding_side") or own.get("direction", "Right").lower()
    token = settings.pad_token or _token_text(config.get("pad_token")) or own.get("pad_token")
    number = None if token is None else tokenizer.token_to_id(token)
    if number is None:
        what = "has no padding token" if token is None else f"has no token '{token}' to pad with"
        raise UsageError(f"{_STEP}: {settings.tokenizer} {what}", hint="name one with `pad_token`")
    return {"direction": side, "pad_id": number, "pad_token": token, "pad_type_id": own.get("pad_type_id", 0)}


def _token_text(token: Any) -> str | None:
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else None


def _request(text: str) -> Any:
    import numpy as np

    made = np.empty((1, 1), dtype=object)
    made[0, 0] = text
    return made
