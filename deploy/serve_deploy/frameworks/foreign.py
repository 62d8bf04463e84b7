"""Files of models that Triton has no backend for: what each is, and what to do in its place."""

from __future__ import annotations

import pickletools
import zlib
from pathlib import Path
from typing import NoReturn

from serve_deploy.errors import InvalidModelError

_PICKLES = tuple(bytes((0x80, version)) for version in range(2, 6))
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_MOST_BYTES = 1 << 20
_RUNS_CODE = "a pickle runs whatever code is in it when it is loaded, and no backend of Triton's reads one"
# What the first class of a pickle says about it, and what its library writes in its place.
_IN_PLACE = (
    (
        "sklearn",
        "load it in a Python file of yours, and name it: serve package load.py:model; or save a forest with"
        " treelite.sklearn.import_model(…).serialize(FILE)",
    ),
    ("xgboost", "load it where it was made, and save it with model.save_model('model.ubj')"),
    ("lightgbm", "load it where it was made, and save it with model.booster_.save_model('model.txt')"),
    (
        "torch",
        "load it in a Python file of yours, and name it: serve package load.py:model; or save"
        " torch.jit.trace(model, example)",
    ),
    ("catboost", "load it where it was made, and save it with model.save_model('model.onnx', format='onnx')"),
)
_TO_ONNX = "load it where it was made, and export it to ONNX"


# What other files of tree models begin with, what they are, and what to do in their place.
_MAGICS = (
    (
        b"binf",
        "XGBoost's old binary format, which tells nothing of the model",
        "load it with an XGBoost that still reads it, and save it with model.save_model('model.ubj')",
    ),
    (
        b"CBM1",
        "a CatBoost model, which no backend of Triton's serves",
        "export it to ONNX: model.save_model('model.onnx', format='onnx')",
    ),
)


def is_unserved(_path: Path, head: bytes) -> bool:
    """Whether a file is a model of a format that is known, and not served."""
    return any(head.startswith(magic) for magic, _what, _hint in _MAGICS)


def refuse_unserved(path: Path, head: bytes) -> NoReturn:
    """InvalidModelError with what the file is."""
    what, hint = next((what, hint) for magic, what, hint in _MAGICS if head.startswith(magic))
    raise InvalidModelError(f"{path} is {what}", hint=hint)


def is_pickle(head: bytes) -> bool:
    """Whether a file begins as a pickle does, compressed as joblib does or plain."""
    if head[:2] in _PICKLES:
        return True
    return head[:2] in _ZLIB and _inflate(head)[:2] in _PICKLES


def refuse_pickle(path: Path, head: bytes) -> NoReturn:
    """InvalidModelError with the class that is in it, as far as its opcodes tell."""
    content = head if head[:2] in _PICKLES else _inflate(head)
    name = _first_class(content)
    # PyTorch's old format begins with a number, not with a class.
    library = name or ("torch" if path.suffix.lower() in (".pt", ".pth") else "")
    hint = next((hint for prefix, hint in _IN_PLACE if library.startswith(prefix)), _TO_ONNX)
    what = f"a pickle of {name}" if name else "a Python pickle"
    raise InvalidModelError(f"{path} is {what}: {_RUNS_CODE}", hint=hint)


def _inflate(head: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(head, _MOST_BYTES)
    except zlib.error:
        return b""


def _first_class(content: bytes) -> str:
    """The first class that a pickle names; "" where it names none within what was read."""
    texts: list[str] = []
    try:
        for opcode, argument, _at in pickletools.genops(content):
            if opcode.name == "GLOBAL":
                return str(argument).replace(" ", ".")
            if opcode.name == "STACK_GLOBAL" and len(texts) > 1:
                return ".".join(texts[-2:])
            if "UNICODE" in opcode.name:
                texts.append(str(argument))
    except (ValueError, EOFError, IndexError):
        return ""
    return ""
