"""Ask the graph's witness about the onnx package's backend cases, and ONNX Runtime whether it is right.

Axis 0 of the inputs that are as long as the first one is taken for the batch; the other inputs become constants.
Without arguments the fixed sample that CI runs; --full takes every case. Fails where rows that mix are called
independent.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from cases import Case, load_cases
from onnx import numpy_helper

sys.path.append(str(Path(__file__).parents[1] / "support"))

from row_checks import Array, Feeds, find_mixing, load

from serve_deploy.batch_axis import trace_batch_axis
from serve_deploy.onnx.string_locale import provide_locale

_SAMPLE = Path(__file__).with_name("sample.txt")
_TRIALS = 3


def main() -> int:
    """Judge every case, print the counts and what is false, and fail where rows that mix are called independent."""
    wanted = None if "--full" in sys.argv else set(_SAMPLE.read_text().split())
    counts: Counter[tuple[str, str]] = Counter()
    false = 0
    provide_locale()
    for case in load_cases():
        stacked = stack_case(case) if wanted is None or case.name in wanted else None
        if stacked is None:
            continue
        verdict, found = trace_batch_axis(stacked[0]).verdict, run_case(*stacked)
        counts[verdict, found] += 1
        if (verdict, found) == ("independent", "mix"):
            print(f"FALSE: {case.name} is called independent, but its rows mix")
            false += 1
    for (verdict, found), count in sorted(counts.items()):
        print(f"{count:5} called {verdict}, in ONNX Runtime rows {found}")
    return 1 if false else 0


def stack_case(case: Case) -> tuple[onnx.ModelProto, dict[str, Array]] | None:
    """The model with a free batch, and the batch's inputs; None where there is no axis to take for one."""
    given = case.requests[0].inputs
    arrays = {name: value for name, value in given.items() if isinstance(value, np.ndarray)}
    first = next((array for array in arrays.values() if array.ndim and len(array) > 1), None)
    if first is None or len(arrays) < sum(value is not None for value in given.values()):
        return None
    batch = {name: array for name, array in arrays.items() if array.ndim and len(array) == len(first)}
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for tensor in list(model.graph.input):
        if tensor.name in batch:
            if not tensor.type.tensor_type.shape.dim:
                return None
            tensor.type.tensor_type.shape.dim[0].dim_param = "N"
        elif tensor.name in arrays:
            model.graph.initializer.append(numpy_helper.from_array(arrays[tensor.name], tensor.name))
            model.graph.input.remove(tensor)
    for tensor in model.graph.output:
        if tensor.type.HasField("tensor_type"):
            tensor.type.tensor_type.ClearField("shape")
    return model, batch


def run_case(model: onnx.ModelProto, batch: Mapping[str, Array]) -> str:
    """Whether rows mix or stay apart, or that the model does not run."""
    try:
        session = load(model)
    except Exception:  # noqa: BLE001 - whatever ONNX Runtime raises is its answer
        return "are not run"
    numbers = np.random.default_rng(0)
    found = [find_mixing(session, _rows(batch, numbers if trial else None)) for trial in range(_TRIALS)]
    if all(each is not None and "does not run on one row" in each for each in found):
        return "are not run"
    return "mix" if any(found) else "stay apart"


def _rows(batch: Mapping[str, Array], numbers: np.random.Generator | None) -> Sequence[Feeds]:
    """The case's own rows, in turn; with other floats where numbers are given."""
    size = len(next(iter(batch.values())))
    rows = [{name: array[index % size : index % size + 1] for name, array in batch.items()} for index in range(4)]
    if numbers is None:
        return rows
    return [{name: _vary(array, numbers) for name, array in row.items()} for row in rows]


def _vary(array: Array, numbers: np.random.Generator) -> Array:
    if array.dtype.kind != "f":
        return array
    return (numbers.normal(size=array.shape) * 10.0 ** numbers.integers(-1, 2)).astype(array.dtype)


if __name__ == "__main__":
    sys.exit(main())
