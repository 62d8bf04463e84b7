"""One node with what is known of its inputs: all that a rule sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from serve_deploy.batch_axis.values import Array, NotUnderstoodError, Shape, Value, normal_axis

if TYPE_CHECKING:
    from onnx import GraphProto

TraceGraph = Callable[["GraphProto", Sequence[Value]], list[Value]]


@dataclass
class Call:
    """A node's operator and attributes, and the values of its inputs (None where one is left out)."""

    operator: str
    opset: int
    attributes: Mapping[str, Any]
    inputs: Sequence[Value | None]
    output_count: int
    trace: TraceGraph
    read: set[int] = field(default_factory=set)

    def __getitem__(self, index: int) -> Value:
        value = self.get(index)
        if value is None:
            raise NotUnderstoodError("lacks an input")
        return value

    def get(self, index: int) -> Value | None:
        """The input, or None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    @property
    def present(self) -> list[Value]:
        return [value for value in self.inputs if value is not None]

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value; texts are str."""
        value = self.attributes.get(name, default)
        return value.decode(errors="replace") if isinstance(value, bytes) else value

    def axis(self, default: int = 0, *, name: str = "axis") -> int:
        """The axis that an attribute names, counted from the front."""
        return normal_axis(self.attribute(name, default), self[0].rank)

    def numbers(self, index: int) -> Array | None:
        """The numbers that a parameter holds, None where it is left out; raises where they are not known."""
        value = self.get(index)
        if value is None:
            return None
        self.read.add(index)
        if value.content is None:
            raise NotUnderstoodError("takes a parameter that is computed in a way that is not understood")
        return value.content

    def needed(self, index: int, name: str = "") -> list[Any]:
        """A list that must be there, as an attribute of that name or as an input."""
        numbers = self.integers(index, name)
        if numbers is None:
            raise NotUnderstoodError("lacks an input")
        return numbers

    def integers(self, index: int, name: str) -> list[Any] | None:
        """A list that is an attribute in old opsets and an input in new ones; None where it is left out."""
        if name in self.attributes:
            return list(np.atleast_1d(self.attributes[name]))
        numbers = self.numbers(index)
        return None if numbers is None else list(numbers.flat)

    def needs_fixed(self, *indices: int) -> None:
        """Raise where one of these inputs differs between rows."""
        for index in indices:
            value = self.get(index)
            if value is not None and value.rows is not None:
                raise NotUnderstoodError(f"takes input {index + 1} from the rows, where a constant is usual")


def with_size(shape: Shape, axis: int, size: Any) -> Shape:
    """The shape with another size on one axis."""
    return (*shape[:axis], size, *shape[axis + 1 :])
