"""What the backends of other frameworks refuse in a configuration."""

from __future__ import annotations

import pytest

from serve_deploy.model_config import check_config, parse_config
from serve_deploy.model_config.rules.frameworks import note_framework

FIL = (
    'backend: "fil" max_batch_size: 8 input { name: "input__0" data_type: TYPE_FP32 dims: 5 } '
    'output { name: "output__0" data_type: TYPE_FP32 dims: 2 }'
)
TENSORS = 'input { name: "x" data_type: TYPE_FP32 dims: 4 } output { name: "y" data_type: TYPE_FP32 dims: 2 }'
CLASSIFIER = {"model_type": "xgboost_ubj", "is_classifier": "true", "threshold": "0.5"}


def parameters(**values: str) -> str:
    return " ".join(
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}' for key, value in values.items()
    )


def find_fields(text: str) -> list[str]:
    return [problem.field for problem in check_config(parse_config(text))]


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        (CLASSIFIER, []),
        ({"model_type": "lightgbm", "is_classifier": "false"}, []),
        ({"model_type": "lightgbm", "output_class": "false"}, []),
        ({"model_type": "lightgbm"}, ["parameters[is_classifier]"]),
        ({"model_type": "lightgbm", "is_classifier": "true"}, ["parameters[threshold]"]),
        ({**CLASSIFIER, "model_type": "xgboost_json5"}, ["parameters[model_type]"]),
    ],
)
def test_fil_reads_some_parameters_without_a_default(values: dict[str, str], fields: list[str]) -> None:
    """Without them the model does not load."""
    assert find_fields(f"{FIL} {parameters(**values)}") == fields


def test_fil_has_names_and_a_type_of_its_own() -> None:
    """For each tensor, whichever model it is."""
    text = FIL.replace("input__0", "features").replace("TYPE_FP32 dims: 2", "TYPE_FP64 dims: 2")
    assert find_fields(f"{text} {parameters(**CLASSIFIER)}") == ["input[0].name", "output[0].data_type"]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (f'backend: "pytorch" {TENSORS}', []),
        ('backend: "pytorch"', ["input", "output"]),
        ('platform: "pytorch_libtorch"', ["input", "output"]),
        ('backend: "pytorch" runtime: "model.py"', []),
        ('backend: "pytorch" platform: "torch_aoti"', []),
        (f'backend: "pytorch" platform: "torch_aoti" max_batch_size: 4 {TENSORS}', ["max_batch_size"]),
        (f'backend: "pytorch" platform: "torch_aoti" sequence_batching {{}} {TENSORS}', ["sequence_batching"]),
        (f'backend: "tensorrt" instance_group {{ kind: KIND_CPU }} {TENSORS}', ["instance_group[0].kind"]),
        (f'backend: "tensorrt" instance_group {{ kind: KIND_GPU }} {TENSORS}', []),
        (f'backend: "openvino" instance_group {{ kind: KIND_GPU }} {TENSORS}', ["instance_group[0].kind"]),
        (f'backend: "openvino" instance_group {{ kind: KIND_CPU }} {TENSORS}', []),
    ],
)
def test_each_backend_has_its_own_rules(text: str, fields: list[str]) -> None:
    """Of devices, batches, and what it adds by itself."""
    assert find_fields(text) == fields


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{FIL} {parameters(**CLASSIFIER, algo='ALGO_AUTO')}", "parameters[algo] was renamed to layout"),
        (f"{FIL} {parameters(**CLASSIFIER, storage_type='AUTO')}", "parameters[storage_type] is read by nobody"),
        (f'backend: "openvino" max_batch_size: 4 {TENSORS}', "every batch of other than 4 is an error"),
        (
            f'backend: "pytorch" {TENSORS} output {{ name: "z__0" data_type: TYPE_FP32 dims: 1 }}',
            "not all outputs are called NAME__0",
        ),
    ],
)
def test_what_a_backend_takes_otherwise_is_noted(text: str, said: str) -> None:
    """It loads, and may not do what was meant."""
    (note,) = note_framework(parse_config(text))
    assert note.startswith(said)
    assert list(note_framework(parse_config(f'backend: "pytorch" {TENSORS}'))) == []
