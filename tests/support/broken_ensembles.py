"""Ensembles that Triton refuses, and the models that they run."""

from __future__ import annotations

from pathlib import Path

from broken_configs import GOOD, BrokenConfig
from onnx_models import add_to_repository, doubling_model

IN = 'input { name: "in" data_type: TYPE_FP32 dims: 3 }'
OUT = 'output { name: "out" data_type: TYPE_FP32 dims: 3 }'
_HEAD = f"max_batch_size: 4 {IN} {OUT}"
STREAM = f"{GOOD} model_transaction_policy {{ decoupled: true }}"
PYTHON_MODEL = b"class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"


def step(model: str, inputs: dict[str, str], outputs: dict[str, str], version: int = -1) -> str:
    """A step of an ensemble; the maps go from the model's tensors to the ensemble's."""
    maps = [(kind, *pair) for kind, each in (("input", inputs), ("output", outputs)) for pair in each.items()]
    mapped = " ".join(f'{kind}_map {{ key: "{own}" value: "{tensor}" }}' for kind, own, tensor in maps)
    name = f'model_name: "{model}"' if model else ""
    return f"step {{ {name} model_version: {version} {mapped} }}"


def flow(*steps: str, head: str = _HEAD, rest: str = "") -> str:
    """An ensemble's configuration without its platform."""
    return f"{head} ensemble_scheduling {{ {' '.join(steps)} }} {rest}"


DOUBLE = step("well", {"x": "in"}, {"y": "out"})
FIRST, SECOND = step("well", {"x": "in"}, {"y": "middle"}), step("well", {"x": "middle"}, {"y": "out"})


def _ensemble(name: str, config: str, field: str) -> BrokenConfig:
    return BrokenConfig(name, config, field, backend='platform: "ensemble"')


_STEP = "ensemble_scheduling.step"
ENSEMBLES = (
    _ensemble("step_without_model", flow(step("", {"x": "in"}, {"y": "out"})), f"{_STEP}[0].model_name"),
    _ensemble("step_without_inputs", flow(step("well", {}, {"y": "out"})), f"{_STEP}[0].input_map"),
    _ensemble("step_without_outputs", flow(DOUBLE, step("well", {"x": "in"}, {})), f"{_STEP}[1].output_map"),
    _ensemble("ensemble_with_backend", flow(DOUBLE, rest='backend: "onnxruntime"'), "backend"),
    _ensemble("ensemble_with_instances", flow(DOUBLE, rest="instance_group { count: 1 }"), "instance_group"),
    _ensemble(
        "ensemble_with_optimization", flow(DOUBLE, rest="optimization { priority: PRIORITY_MAX }"), "optimization"
    ),
    _ensemble("ensemble_with_warmup", flow(DOUBLE, rest='model_warmup { name: "w" batch_size: 1 }'), "model_warmup"),
    _ensemble(
        "unused_input", flow(DOUBLE, head=_HEAD + IN.replace("in", "more", 2).replace("moreput", "input")), _STEP
    ),
    _ensemble("unwritten_output", flow(DOUBLE, head=_HEAD + OUT.replace('"out"', '"more"')), _STEP),
    _ensemble("written_twice", flow(DOUBLE, DOUBLE), f"{_STEP}[1].output_map"),
    _ensemble("unused_tensor", flow(DOUBLE, step("well", {"x": "in"}, {"y": "lost"})), _STEP),
    _ensemble("misspelt_tensor", flow(FIRST, step("well", {"x": "midle"}, {"y": "out"})), _STEP),
    _ensemble(
        "cycle_of_tensors",
        flow(
            step("two", {"a": "in", "b": "back"}, {"y": "middle"}),
            step("well", {"x": "middle"}, {"y": "back"}),
            step("well", {"x": "middle"}, {"y": "out"}),
        ),
        _STEP,
    ),
    _ensemble(
        "unreachable_output",
        flow(
            DOUBLE,
            step("well", {"x": "a"}, {"y": "b"}),
            step("well", {"x": "b"}, {"y": "a"}),
            step("well", {"x": "a"}, {"y": "far"}),
            head=_HEAD + OUT.replace('"out"', '"far"'),
        ),
        _STEP,
    ),
    _ensemble(
        "ensemble_of_itself", flow(step("ensemble_of_itself", {"in": "in"}, {"out": "out"})), f"{_STEP}[0].model_name"
    ),
    _ensemble("cycle_of_two_a", flow(step("cycle_of_two_b", {"in": "in"}, {"out": "out"})), f"{_STEP}[0].model_name"),
    _ensemble("cycle_of_two_b", flow(step("cycle_of_two_a", {"in": "in"}, {"out": "out"})), f"{_STEP}[0].model_name"),
    _ensemble("member_missing", flow(step("wel", {"x": "in"}, {"y": "out"})), f"{_STEP}[0]"),
    _ensemble(
        "member_version_missing", flow(step("well", {"x": "in"}, {"y": "out"}, version=7)), f"{_STEP}[0].model_version"
    ),
    _ensemble("member_version_left_out", flow(DOUBLE.replace("model_version: -1", "")), f"{_STEP}[0].model_version"),
    _ensemble(
        "member_version_not_served",
        flow(step("two_versions", {"x": "in"}, {"y": "out"}, version=1)),
        f"{_STEP}[0].model_version",
    ),
    _ensemble("member_input_missing", flow(step("well", {"X": "in"}, {"y": "out"})), f"{_STEP}[0].input_map"),
    _ensemble("member_output_missing", flow(step("well", {"x": "in"}, {"Y": "out"})), f"{_STEP}[0].output_map"),
    _ensemble("member_input_not_mapped", flow(step("two", {"a": "in"}, {"y": "out"})), f"{_STEP}[0].input_map"),
    _ensemble("member_type", flow(DOUBLE, head=_HEAD.replace("FP32", "FP64", 1)), f"{_STEP}[0].input_map"),
    _ensemble("member_shape", flow(DOUBLE, head=_HEAD.replace("dims: 3", "dims: 4", 1)), f"{_STEP}[0].input_map"),
    _ensemble(
        "members_that_do_not_fit",
        flow(
            FIRST,
            step("wide", {"x": "middle"}, {"y": "out"}),
            head=_HEAD.replace('"out" data_type: TYPE_FP32 dims: 3', '"out" data_type: TYPE_FP32 dims: 4'),
        ),
        f"{_STEP}[1].input_map",
    ),
    _ensemble("member_batch", flow(DOUBLE, head=_HEAD.replace("4", "8", 1)), "max_batch_size"),
    _ensemble(
        "branches_of_two_streams",
        flow(
            step("stream", {"x": "in"}, {"y": "a"}),
            step("other_stream", {"x": "in"}, {"y": "b"}),
            step("two", {"a": "a", "b": "b"}, {"y": "out"}),
        ),
        f"{_STEP}[2].input_map",
    ),
    _ensemble(
        "stream_beside_input",
        flow(step("stream", {"x": "in"}, {"y": "a"}), step("two", {"a": "a", "b": "in"}, {"y": "out"})),
        f"{_STEP}[1].input_map",
    ),
    _ensemble(
        "outputs_of_two_streams",
        flow(
            step("stream", {"x": "in"}, {"y": "out"}),
            step("other_stream", {"x": "in"}, {"y": "b"}),
            head=_HEAD + OUT.replace('"out"', '"b"'),
        ),
        _STEP,
    ),
)


_OUTPUTS = {name: OUT.replace('"out"', f'"{name}"') for name in "abcwy"}
_MINUS = step("minus", {"a": "y", "b": "w"}, {"c": "c"})
_JOIN = flow(
    step("well", {"x": "in"}, {"y": "y"}),
    step("minus", {"a": "y", "b": "in"}, {"c": "c"}),
    head=f"max_batch_size: 4 {IN} {_OUTPUTS['y']} {_OUTPUTS['c']}",
)
_PAIR = step("pair", {"x": "in"}, {"y": "y", "w": "w"})
_TWO_OF_THREE = flow(_PAIR, _MINUS, head=f"max_batch_size: 4 {IN} {_OUTPUTS['c']} {_OUTPUTS['y']}")
_THREE = flow(_PAIR, _MINUS, head=f"max_batch_size: 4 {IN} {_OUTPUTS['c']} {_OUTPUTS['y']} {_OUTPUTS['w']}")
_BRANCHES = flow(
    step("well", {"x": "in"}, {"y": "t"}),
    step("well", {"x": "t"}, {"y": "a"}),
    step("well", {"x": "t"}, {"y": "b"}),
    head=f"max_batch_size: 4 {IN} {_OUTPUTS['a']} {_OUTPUTS['b']}",
)
# What is asked of an ensemble, and the outputs for which Triton then says "unexpected deadlock".
PARTIAL = (
    (_JOIN, "y", "y"),
    (_JOIN, "c", "c"),
    (_JOIN, "c y", ""),
    (_TWO_OF_THREE, "y", "y"),
    (_TWO_OF_THREE, "c", ""),
    (_THREE, "y", "y"),
    (_THREE, "c", "c"),
    (_THREE, "c y", ""),
    (_THREE, "c w", ""),
    (_BRANCHES, "a", ""),
    (_BRANCHES, "b", ""),
    (_BRANCHES, "a b", ""),
)


def add_case(repository: Path, case: BrokenConfig) -> Path:
    """A model with the configuration of the case, and the file that its backend wants."""
    if "python" in case.backend:
        folder = add_python(repository, case.name, "")
    elif "ensemble" in case.backend:
        folder = repository / case.name
        (folder / "1").mkdir(parents=True)
    else:
        folder = add_to_repository(repository, case.name, doubling_model())
    if any(path.endswith(".py") for path, _content in case.files):
        (folder / "1" / "model.onnx").unlink()
    for path, content in case.files:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / "config.pbtxt").write_text(case.text)
    return folder


def add_members(repository: Path) -> None:
    """The models that the ensembles run; all of them load."""
    add_to_repository(repository, "well", doubling_model(), f"{GOOD} instance_group {{ count: 1 }}")
    wide = GOOD.replace("dims: 3", "dims: 4")
    add_to_repository(repository, "wide", doubling_model(("batch", 4)), f"{wide} instance_group {{ count: 1 }}")
    two = IN.replace('"in"', '"a"') + IN.replace('"in"', '"b"') + OUT.replace('"out"', '"y"')
    add_python(repository, "two", f"max_batch_size: 4 {two}")
    add_python(repository, "stream", STREAM)
    add_python(repository, "other_stream", STREAM)
    add_python(repository, "two_versions", GOOD, versions=(1, 2))


def add_python(repository: Path, name: str, config: str, *, versions: tuple[int, ...] = (1,)) -> Path:
    """A model of the Python backend that loads and answers nothing."""
    folder = repository / name
    for version in versions:
        (folder / str(version)).mkdir(parents=True)
        (folder / str(version) / "model.py").write_bytes(PYTHON_MODEL)
    (folder / "config.pbtxt").write_text(f'backend: "python" {config}')
    return folder
