"""Which operators a release's ONNX Runtime runs, by version, types and attributes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from batching_models import parse_graph

from serve_deploy.kernels import OperatorUse, answer_all, read_table
from serve_deploy.onnx.operator_uses import list_operator_uses
from serve_deploy.releases import answer_release, check_operators, list_releases, note_operators

ROOT = Path(__file__).parents[3]
# The kernel of TreeEnsemble came with ONNX Runtime 1.21, though 1.18 already reads its opset.
TREES = OperatorUse("ai.onnx.ml", "TreeEnsemble", 5, frozenset({("T", frozenset({"tensor(float)"}))}))


def uses(text: str) -> tuple[OperatorUse, ...]:
    """The operators of a graph in onnx's text form."""
    return list_operator_uses(parse_graph(text))


def names(found: tuple[OperatorUse, ...]) -> dict[str, str]:
    """The types of each operator's constraint T."""
    return {use.name: ", ".join(sorted(t or "?" for t in dict(use.types).get("T", ()))) for use in found}


def test_refuses_an_operator_without_a_kernel_within_the_opset() -> None:
    """TreeEnsemble is in the opset that Triton 24.10 reads, and its ONNX Runtime cannot run it."""
    assert answer_release("24.10", [TREES]).verdict == "refused"
    assert answer_release("26.07", [TREES]).verdict == "runs"


def test_names_the_operator_and_the_first_release_that_runs_it() -> None:
    """The refusal says what to do."""
    error = check_operators("24.10", [TREES], ir_version=10, opsets={"ai.onnx": 21, "ai.onnx.ml": 5})

    assert error is not None
    assert "does not run TreeEnsemble (ai.onnx.ml 5) of float" in error.message
    assert "`release=25.03` or later" in str(error.hint)


def test_refuses_types_without_a_kernel() -> None:
    """Add of 8-bit integers came with a later ONNX Runtime than Add."""
    small = uses("(int8[N] x) => (int8[N] y) { y = Add(x, x) }")

    assert answer_release("24.10", small).reasons == ("Add (14) of int8",)
    assert answer_release("24.10", uses("(float[N] x) => (float[N] y) { y = Add(x, x) }")).verdict == "runs"


def test_refuses_an_attribute_that_the_kernel_does_not_implement() -> None:
    """A batch-first RNN loads in no ONNX Runtime."""
    text = """(float[N,3,4] x, float[1,2,4] w, float[1,2,2] r) => (float[N,3,1,2] y) {
        y = RNN<hidden_size=2, layout=1>(x, w, r)
    }"""

    assert answer_release("26.07", uses(text)).reasons == ("RNN (14) with layout=1",)
    assert answer_release("26.07", uses(text.replace(", layout=1", ""))).verdict == "runs"


def test_counts_operators_in_subgraphs() -> None:
    """A branch of an If is loaded as well, with the types of the values around it."""
    found = uses(
        """(bool c, int8[N] x) => (int8[N] y) {
            d = Abs(x)
            y = If (c) <
                then_branch = a () => (int8[N] u) { u = Add(d, x) },
                else_branch = b () => (int8[N] v) { v = Abs(d) }
            >
        }"""
    )

    assert names(found)["Add"] == "tensor(int8)"
    assert answer_release("24.10", found).verdict == "refused"


def test_counts_operators_in_functions() -> None:
    """A local function is taken apart, and typed by the values that it is called with."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (int8[N] x) => (int8[N] y) { y = own.Twice(x) }
        <domain: "own", opset_import: ["" : 17]> Twice (a) => (b) { b = Add(a, a) }"""
    )

    assert answer_release("24.10", list_operator_uses(model)).reasons == ("Add (14) of int8",)


def test_types_values_behind_operators_of_onnx_runtime() -> None:
    """FusedMatMul is not in onnx; what it returns has the type of what it takes."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float[N,4] x) => (float[N,N] y) { h = com.microsoft.FusedMatMul<transB=1>(x, x) y = Relu(h) }"""
    )
    found = list_operator_uses(model)

    assert names(found) == {"FusedMatMul": "tensor(float)", "Relu": "tensor(float)"}
    assert answer_release("24.10", found).verdict == "runs"


def test_knows_nothing_of_custom_operators() -> None:
    """Not known is neither accepted nor refused, and is said."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17, "own" : 1]> g (float[N] x) => (float[N] y) { y = own.Foo(x) }'
    )
    answer = answer_release("24.10", list_operator_uses(model))

    assert answer.verdict == "unknown"
    assert str(note_operators("24.10", answer)).endswith("not known whether it runs own Foo")


def test_says_of_a_release_without_a_wheel_that_it_is_not_known() -> None:
    """ONNX Runtime 1.17.2, which Triton 24.03 carries, was never on PyPI."""
    answer = answer_release("24.03", [TREES])

    assert answer.verdict == "unknown"
    assert "has no wheel to try" in str(note_operators("24.03", answer))


def test_covers_every_onnx_runtime_that_has_a_wheel() -> None:
    """The table is made anew when a release is added."""
    table = read_table()

    assert {r.onnxruntime_version for r in list_releases()} == {*table.onnxruntimes, *table.missing}
    assert table.missing == ["1.17.2"]


@pytest.mark.parametrize("onnxruntime", read_table().onnxruntimes)
def test_runs_plain_operators_everywhere(onnxruntime: str) -> None:
    """A small network of old operators runs in every ONNX Runtime."""
    found = uses("(float[N,4] x, float[4,2] w) => (float[N,2] y) { h = MatMul(x, w) r = Relu(h) y = Softmax(r) }")

    assert answer_all(found, onnxruntime, read_table()).verdict == "runs"


@pytest.mark.timeout(1200)
def test_agrees_with_the_onnx_runtime_of_a_release(tmp_path: Path) -> None:
    """Over all backend cases, ONNX Runtime 1.19.2 loads every model that the table says it runs."""
    command = [sys.executable, str(ROOT / "scripts/kernel_table/compare.py"), "--folder", str(tmp_path), "24.10"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    if "cannot be installed" in done.stdout:
        pytest.skip("no package index to install ONNX Runtime 1.19.2 from")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "falsely accepted 0, falsely refused 0" in done.stdout


def test_types_values_of_branches_that_declare_none() -> None:
    """A branch's output without a type has that of the value behind it."""
    model = parse_graph(
        """(bool c, float[N] x) => (float[N] y) {
            z = If (c) <
                then_branch = a () => (float[N] u) { u = Abs(x) },
                else_branch = b () => (float[N] v) { v = Neg(x) }
            >
            y = Relu(z)
        }"""
    )
    for attribute in model.graph.node[0].attribute:
        attribute.g.output[0].ClearField("type")

    assert names(list_operator_uses(model))["Relu"] == "tensor(float)"
