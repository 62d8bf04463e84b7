"""Random recurrent models: any number of states, in any order and layout, under the names that exporters give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recurrent_models import parse

from serve_deploy.onnx.session import open_model
from serve_deploy.packaging.fixes.servable import Servable
from serve_deploy.packaging.options import PackageOptions, StatefulOptions
from serve_deploy.packaging.stateful.analysis import analyse_stateful
from serve_deploy.packaging.stateful.model import make_stateful
from serve_deploy.progress import silent

STEMS = ("h", "c", "state", "state_len", "cache_1", "cache_10", "cache_2", "mem", "hidden", "encoder_cache", "ctx")
FORMS = (
    ("{}", "{}_out"),
    ("{}_in", "{}_out"),
    ("{}", "next_{}"),
    ("{}", "new_{}"),
    ("{}_prev", "{}_next"),
    ("{}", "{}N"),
)


@dataclass(frozen=True)
class Leaky:
    """Leaky sums with these names; `axis` is that of the batch in each of their states."""

    names: tuple[tuple[str, str], ...]
    axes: tuple[int, ...]
    outputs_reversed: bool

    @property
    def model(self) -> onnx.ModelProto:
        """Every state leaks and weighs differently, so that none can stand for another."""
        shapes = [("B,2,3", "2,B,3", "2,1,B,3")[axis] for axis in self.axes]
        ins = ", ".join(f"float[{shape}] {name}" for shape, (name, _) in zip(shapes, self.names, strict=True))
        outs = [f"float[{shape}] {name}" for shape, (_, name) in zip(shapes, self.names, strict=True)]
        body = []
        for index, (axis, (entering, leaving)) in enumerate(zip(self.axes, self.names, strict=True)):
            body.append(f"""
                leak{index} = Constant<value_float={0.95 - 0.13 * index}>()
                weight{index} = Constant<value_float={0.2 + 0.3 * index}>()
                at{index} = Constant<value_ints={([1], [0], [0, 1])[axis]}>()
                kept{index} = Mul({entering}, leak{index})
                new{index} = Unsqueeze(x, at{index})
                {leaving} = Add(kept{index}, new{index})
                flat{index} = ReduceSum<keepdims=0>({leaving}, at{index})
                part{index} = Mul(flat{index}, weight{index})""")
        parts = ", ".join(f"part{index}" for index in range(len(self.names)))
        ordered = outs[::-1] if self.outputs_reversed else outs
        return parse(
            f"(float[B,3] x, {ins}) => (float[B,3] y, {', '.join(ordered)}) {{{''.join(body)}\n total = Sum({parts})\n"
            " y = Tanh(total) }"
        )


@st.composite
def leaky_models(draw: st.DrawFn) -> Leaky:
    """Up to four states of one naming convention."""
    stems = draw(st.lists(st.sampled_from(STEMS), min_size=1, max_size=4, unique=True))
    entering, leaving = draw(st.sampled_from(FORMS))
    axes = draw(st.lists(st.sampled_from((0, 1, 2)), min_size=len(stems), max_size=len(stems)))
    names = tuple((entering.format(stem), leaving.format(stem)) for stem in stems)
    return Leaky(names, tuple(axes), draw(st.booleans()))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("leaky") / "m.onnx"


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(leaky=leaky_models())
def test_every_state_goes_on_as_itself(leaky: Leaky, path: Path) -> None:
    """Sequences run as Triton runs them equal the model's own, in batches, whatever the names sort like."""
    onnx.save(leaky.model, path)
    options = PackageOptions(fix=True, sequences=StatefulOptions(stateful=True))
    servable, stateful = make_stateful(Servable(open_model(path), (), (), None), options, silent)
    assert [(state.input, state.output) for state in stateful.own_states] == list(leaky.names)
    analysis = analyse_stateful(stateful, options, silent)
    assert analysis.batching.max_batch_size == 8, analysis.batching.evidence
    served = sorted((each.input, each.output) for each in stateful.states)
    assert [output for _, output in served] == sorted(output for _, output in served)
    assert servable.opened is stateful.opened
