"""Tokenize texts by a tokenizer.json: what Triton runs as a standard step of serve. It needs tokenizers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

_Array = np.ndarray[Any, Any]
_FOLDER = Path(__file__).parent
_SETTINGS = json.loads((_FOLDER / "settings.json").read_text(encoding="utf-8"))
_TOKENIZER = Tokenizer.from_file(str(_FOLDER / "tokenizer.json"))
if _SETTINGS["truncation"]:
    _TOKENIZER.enable_truncation(**_SETTINGS["truncation"])
else:
    _TOKENIZER.no_truncation()
if _SETTINGS["padding"]:
    _TOKENIZER.enable_padding(**_SETTINGS["padding"])
else:
    _TOKENIZER.no_padding()
_PARTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


def tokenize_texts(**inputs: _Array) -> tuple[_Array, ...]:
    """Texts [N, 1] to ids and their like [N, L], as long as the longest of the texts or a fixed length."""
    columns = [[_decode(name, text) for text in array[:, 0]] for name, array in inputs.items()]
    encodings = _TOKENIZER.encode_batch(columns[0] if len(columns) == 1 else list(zip(*columns, strict=True)))
    return tuple(
        np.array([getattr(encoding, _PARTS[name]) for encoding in encodings], dtype=_SETTINGS["type"])
        for name in _SETTINGS["outputs"]
    )


def _decode(name: str, text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"'{name}' is not UTF-8 text: {error.reason} at byte {error.start}") from None
