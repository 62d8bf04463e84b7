"""TorchScript archives: forward's arguments from the code, and what a trace kept of its inputs; nothing is unpickled.

Sources: pytorch, torch/csrc/jit/serialization; pytorch_backend, src/pt/model_instance_state.cc (ValidateInputs,
GetNamingConvention).
"""

from __future__ import annotations

import ast
import pickletools
import re
from collections.abc import Iterator
from pathlib import Path

from serve_deploy.errors import InvalidModelError
from serve_deploy.frameworks.archive import Archive
from serve_deploy.frameworks.artefact import Artefact, Tensor, reading
from serve_deploy.manifest import ReasonedValue
from serve_deploy.tensors.types import DataType

_STORAGES = {
    "FloatStorage": DataType.FP32, "DoubleStorage": DataType.FP64, "HalfStorage": DataType.FP16,
    "BFloat16Storage": DataType.BF16, "LongStorage": DataType.INT64, "IntStorage": DataType.INT32,
    "ShortStorage": DataType.INT16, "CharStorage": DataType.INT8, "ByteStorage": DataType.UINT8,
    "BoolStorage": DataType.BOOL,
}  # fmt: skip
_HEADER = re.compile(r"^  def forward\(self: .*?\) -> .*?:$", re.MULTILINE | re.DOTALL)
_TEXTS = "List[str]"


def read_torchscript(path: Path) -> Artefact:
    """Read a TorchScript archive; InvalidModelError where it is another kind of PyTorch file, or corrupt."""
    with reading(path, "a TorchScript archive"):
        archive = Archive(path)
        _require_code(path, archive)
        arguments, returns = _read_forward(path, archive)
        traced = tuple(_read_traced(archive.read("traced_inputs.pkl"))) if archive.has("traced_inputs.pkl") else ()
        values = {
            "archive_version": archive.read("version").decode().strip(),
            **({"made_by": "torch.jit.trace"} if traced else {}),
            "returns": returns,
        }
        inputs = None if _takes_dictionary(arguments) else tuple(_inputs(path, arguments, traced))
        outputs = _count_outputs(path, returns)
    return Artefact(
        framework="TorchScript",
        backend="pytorch",
        platform="pytorch_libtorch",
        source=path,
        files={"model.pt": path},
        inputs=inputs,
        outputs=None if outputs is None else tuple(Tensor(f"OUTPUT__{index}") for index in range(outputs)),
        facts=tuple(
            ReasonedValue(name=name, value=value, reason="read from the file") for name, value in values.items()
        ),
        by_position=True,
        reasons={
            "backend": "LibTorch runs the TorchScript file",
            "platform": "TorchScript",
            "parameters": "read by the PyTorch backend",
        },
        suggestion=_suggest(inputs or (Tensor("KEY"),), traced, outputs),
    )


def _require_code(path: Path, archive: Archive) -> None:
    if archive.has("code") and archive.has("constants.pkl"):
        return
    if archive.has("data.pkl"):
        raise InvalidModelError(
            f"{path} holds weights or a pickled module, not a program: Triton's PyTorch backend cannot run it",
            hint="load it in a Python file of yours, and name it: serve package load.py:model; or save"
            " torch.jit.trace(model, example)",
        )
    raise InvalidModelError(f"{path} is a zip archive, but not of PyTorch's", hint="name the model's file itself")


def _read_forward(path: Path, archive: Archive) -> tuple[list[tuple[str, str]], str]:
    """Names and types of forward's arguments, and its return type, as they stand in the code."""
    module = _main_class(archive.read("data.pkl")).split(".")
    code = archive.read("code/" + "/".join(module[:-1]) + ".py").decode("utf-8")
    # A file of code may hold several classes.
    body = re.split(rf"^class {re.escape(module[-1])}\b", code, maxsplit=1, flags=re.MULTILINE)[1]
    found = _HEADER.search(re.split(r"^class ", body, maxsplit=1, flags=re.MULTILINE)[0])
    if found is None:
        raise InvalidModelError(
            f"{path} has no method forward of its own, which Triton's PyTorch backend calls",
            hint="wrap the model in a module with a forward of tensors, and trace or script that",
        )
    function = ast.parse(f"{found[0].strip()}\n  pass").body[0]
    if not isinstance(function, ast.FunctionDef) or function.returns is None:
        raise ValueError("no function")
    arguments = [(each.arg, ast.unparse(each.annotation) if each.annotation else "") for each in function.args.args[1:]]
    return arguments, ast.unparse(function.returns)


def _main_class(pickle: bytes) -> str:
    """The class of the archive's one object: the first that its pickle names."""
    for opcode, argument, _at in pickletools.genops(pickle):
        if opcode.name == "GLOBAL":
            return str(argument).replace(" ", ".")
    raise ValueError("no class")


def _read_traced(pickle: bytes) -> Iterator[tuple[DataType | None, tuple[int, ...]]]:
    """Type and shape of each tensor that the model was traced with, from the opcodes that would rebuild it."""
    storage: DataType | None = None
    numbers: list[int] | None = None
    for opcode, argument, _at in pickletools.genops(pickle):
        if opcode.name == "GLOBAL" and str(argument).endswith("Storage"):
            storage = _STORAGES.get(str(argument).split(" ")[-1])
        elif opcode.name == "BINPERSID":
            numbers = []
        elif numbers is not None and opcode.name.startswith(("BININT", "LONG")):
            numbers.append(int(argument or 0))
        elif numbers is not None and "TUPLE" in opcode.name:
            # The first number is the offset into the storage, and the next tuple is that of the strides.
            yield storage, tuple(numbers[1:])
            numbers = None


def _takes_dictionary(arguments: list[tuple[str, str]]) -> bool:
    """Whether the one argument is a dictionary, whose keys are the inputs' names and stand nowhere."""
    return len(arguments) == 1 and arguments[0][1].startswith("Dict[str, Tensor]")


def _inputs(
    path: Path, arguments: list[tuple[str, str]], traced: tuple[tuple[DataType | None, tuple[int, ...]], ...]
) -> Iterator[Tensor]:
    if not arguments:
        raise InvalidModelError(
            f"{path}: forward takes no inputs, so there is nothing to ask it", hint="export another"
        )
    known = traced if len(traced) == len(arguments) else ()
    for index, (name, kind) in enumerate(arguments):
        if kind == _TEXTS:
            yield Tensor(name, DataType.BYTES)
        elif kind == "Tensor":
            yield Tensor(name, known[index][0] if known else None)
        else:
            raise InvalidModelError(
                f"{path}: forward's argument '{name}' is {kind}, which Triton's PyTorch backend does not take",
                hint="wrap the model in a module whose forward takes tensors only, and export that",
            )


def _count_outputs(path: Path, returns: str) -> int | None:
    """How many outputs forward returns; None where only running it tells."""
    kind = ast.parse(returns, mode="eval").body
    if not isinstance(kind, ast.Subscript) or ast.unparse(kind.value) != "Tuple":
        return 1 if returns in ("Tensor", _TEXTS) else None
    items = [ast.unparse(item) for item in (kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice])]
    wrong = next((item for item in items if item not in ("Tensor", _TEXTS)), None)
    if wrong is not None:
        raise InvalidModelError(
            f"{path}: forward returns {returns}, and Triton's PyTorch backend takes no {wrong} within a tuple",
            hint="wrap the model in a module whose forward returns its tensors side by side, and export that",
        )
    return len(items)


def _suggest(
    inputs: tuple[Tensor, ...], traced: tuple[tuple[DataType | None, tuple[int, ...]], ...], outputs: int | None
) -> str:
    known = traced if len(traced) == len(inputs) else ()
    left = []
    for index, tensor in enumerate(inputs):
        shape = [-1, *known[index][1][1:]] if known else [-1] if tensor.data_type is DataType.BYTES else [-1, 4]
        left.append(f"{tensor.name} {(tensor.data_type or DataType.FP32).value} {shape}")
    right = [f"OUTPUT__{index} FP32 [-1, 10]" for index in range(outputs or 1)]
    return f"{', '.join(left)} -> {', '.join(right)}"
