"""Tensor types, shapes and signatures in Triton's terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class DataType(Enum):
    """A tensor type that Triton serves; the value is its name on the wire (KServe v2)."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"
    BF16 = "BF16"

    @property
    def config_name(self) -> str:
        """Its name in config.pbtxt, such as TYPE_FP32."""
        return "TYPE_STRING" if self is DataType.BYTES else f"TYPE_{self.value}"

    @property
    def numpy_name(self) -> str:
        """Its numpy type; BF16 has none of its own and travels as float32, strings as object."""
        special = {DataType.BYTES: "object", DataType.BF16: "float32"}
        return special.get(self) or self.value.lower().replace("fp", "float")

    @property
    def size_bytes(self) -> int | None:
        """Bytes an element takes on the wire; None for strings, which vary."""
        bits = "".join(filter(str.isdigit, self.value)) or {DataType.BOOL: "8"}.get(self)
        return int(bits) // 8 if bits else None

    @property
    def is_float(self) -> bool:
        return self in (DataType.FP16, DataType.FP32, DataType.FP64, DataType.BF16)

    @property
    def is_integer(self) -> bool:
        return self.value.startswith(("INT", "UINT"))

    @classmethod
    def from_config_name(cls, name: str) -> DataType:
        """Read TYPE_FP32 and its kin; raises ValueError for anything else."""
        return cls.BYTES if name == "TYPE_STRING" else cls(name.removeprefix("TYPE_"))


def fits_shape(declared: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether `shape` has the rank of `declared`, and its size in every dim that is not free (-1)."""
    return len(shape) == len(declared) and all(dim in (-1, size) for dim, size in zip(declared, shape, strict=True))


def client_shape(shape: tuple[int, ...], *, batched: bool) -> tuple[int, ...]:
    """The shape that a client sees: Triton has no rank 0, nor any beside the batch axis, and makes it [1]."""
    return (*shape, 1) if len(shape) == int(batched) else shape


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: its name as it is in the model, and its full shape with -1 for free dims."""

    name: str
    data_type: DataType
    shape: tuple[int, ...]
    optional: bool = False

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether an array of this shape fits: equal rank, and equal sizes where a dim is not free."""
        return fits_shape(self.shape, shape)

    def __str__(self) -> str:
        return f"{self.name} {self.data_type.value} [{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class ModelSignature:
    """Every input and output of a model, in the model's order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def required_inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs that every request has."""
        return tuple(tensor for tensor in self.inputs if not tensor.optional)

    @property
    def batch_obstacle(self) -> str | None:
        """Why the shapes alone rule batching out, or None where they do not."""
        if not self.required_inputs:
            return "the model has no inputs to stack"
        for kind, tensors in (("input", self.required_inputs), ("output", self.outputs)):
            for tensor in tensors:
                if not tensor.shape:
                    return f"{kind} '{tensor.name}' is a scalar (or of unknown rank), without an axis to stack on"
                if tensor.shape[0] != -1:
                    return f"the first dimension of {kind} '{tensor.name}' is fixed to {tensor.shape[0]}"
        return None
