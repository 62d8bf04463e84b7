"""Candidates: read from a configuration, written into one, said in words."""

from __future__ import annotations

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.model_config import check_config, parse_config
from serve_deploy.tuning.candidates.candidate import (
    BATCH,
    DELAY,
    INSTANCES,
    PREFERRED,
    THREADS,
    Candidate,
    describe_value,
    join_path,
    split_path,
)
from serve_deploy.tuning.candidates.fields import configure, read_candidate
from serve_deploy.tuning.candidates.vary import read_vary

TEXT = """
name: "m" backend: "onnxruntime" max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [1] }
output { name: "y" data_type: TYPE_FP32 dims: [1] }
dynamic_batching { preferred_batch_size: [4, 8] max_queue_delay_microseconds: 100 }
instance_group { count: 2 } instance_group { count: 2 kind: KIND_CPU }
model_warmup { name: "w" batch_size: 8 inputs { key: "x" value { data_type: TYPE_FP32 dims: [1] zero_data: true } } }
"""
PATHS = (BATCH, DELAY, PREFERRED, INSTANCES, THREADS, "version_policy.latest.num_versions")


def test_reading_says_what_the_file_says() -> None:
    """Every field has the file's value, or None where it is not set."""
    assert dict(read_candidate(parse_config(TEXT), PATHS).values) == {
        BATCH: 8, DELAY: 100, PREFERRED: (4, 8), INSTANCES: 2, THREADS: None, "version_policy.latest.num_versions": None
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (BATCH, 16), (DELAY, 500), (PREFERRED, (2, 4)), (PREFERRED, None), (INSTANCES, 3), (THREADS, 1),
        ("accelerator", "openvino"), ("dynamic_batching.preserve_ordering", True), ("optimization.graph.level", 1),
        ("optimization.priority", "PRIORITY_MAX"), ("parameters.execution_mode", "1"),
    ],
)  # fmt: skip
def test_a_value_that_is_written_is_read_again(path: str, value: object) -> None:
    """Writing a value and reading it gives the same, and breaks no rule of Triton's."""
    config = parse_config(TEXT)
    changed = configure(config, Candidate.of({path: value}))  # type: ignore[dict-item]
    found = read_candidate(changed, (path,))[path]
    assert (found if not isinstance(value, str) else str(found)) == value
    assert check_config(changed) == ()
    assert read_candidate(config, PATHS) == read_candidate(parse_config(TEXT), PATHS)


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("max_batch_size", ("", "max_batch_size")),
        ("m:max_batch_size", ("m", "max_batch_size")),
        ("org:m:v2:max_batch_size", ("org:m:v2", "max_batch_size")),
        ("parameters.a:b", ("", "parameters.a:b")),
        ("org:m:parameters.a:b.c", ("org:m", "parameters.a:b.c")),
        ("m:dynamic_batching.preserve_ordering", ("m", "dynamic_batching.preserve_ordering")),
    ],
)
def test_a_path_is_told_from_its_model(path: str, parts: tuple[str, str]) -> None:
    """Triton's models may be called anything that a folder may, and parameters anything."""
    assert split_path(path) == parts
    assert join_path(*parts) == path


def test_batching_without_a_delay_is_not_no_batching() -> None:
    """Without dynamic_batching Triton executes each request alone: a delay of 0 asks for the batcher."""
    config = parse_config('name: "m" backend: "python" max_batch_size: 8')
    own = read_candidate(config, (BATCH, DELAY, PREFERRED))
    asked = configure(config, Candidate.of({**dict(own.values), DELAY: 0}))
    assert (own[DELAY], read_candidate(asked, (DELAY,))[DELAY]) == (None, 0)
    assert asked.HasField("dynamic_batching")
    assert Candidate.of({DELAY: 0}).describe(own) == "delay 0 µs"
    assert describe_value(DELAY, None) == "no dynamic batching"


def test_the_files_own_values_change_nothing() -> None:
    """A configuration with the baseline's values is the file's, to the byte."""
    config = parse_config(TEXT)
    assert configure(config, read_candidate(config, PATHS)) == config


@pytest.mark.parametrize("backend", ["onnxruntime", "python"])
def test_a_smaller_batch_takes_what_is_beyond_it_along(backend: str) -> None:
    """Preferred sizes and warm-up batches above a new max_batch_size would keep the model from loading."""
    changed = configure(parse_config(TEXT.replace("onnxruntime", backend)), Candidate.of({BATCH: 4}))
    assert (list(changed.dynamic_batching.preferred_batch_size), changed.model_warmup[0].batch_size) == ([4], 4)
    assert check_config(changed) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b=1,2", ("a.b", (1, 2))),
        ("p=[4,8],[8],none", ("p", ((4, 8), (8,), None))),
        ("q=true,false", ("q", (True, False))),
        ("accelerator=none,tensorrt:fp16", ("accelerator", (None, "tensorrt:fp16"))),
    ],
)
def test_vary_is_read(text: str, expected: object) -> None:
    """Numbers, words, lists, switches and absence."""
    assert read_vary(text) == expected


@pytest.mark.parametrize("text", ["", "a", "a=", "=1"])
def test_vary_without_a_field_or_a_value_is_refused(text: str) -> None:
    """The message says how to write it."""
    with pytest.raises(UsageError, match="which field"):
        read_vary(text)


@pytest.mark.parametrize("text", ["p=[4.5]", 'p=["a"]', "p=[true]"])
def test_a_list_of_anything_but_whole_numbers_is_refused(text: str) -> None:
    """No field that can be varied takes it."""
    with pytest.raises(UsageError, match="no list of whole numbers"):
        read_vary(text)


@pytest.mark.parametrize("path", ["nonsense", "dynamic_batching", "dynamic_batching.nonsense", "input.dims"])
def test_a_field_that_is_not_there_is_named(path: str) -> None:
    """Only single values can be varied."""
    with pytest.raises(UsageError, match="no single value"):
        read_candidate(parse_config(TEXT), (path,))


def test_a_value_that_a_field_cannot_hold_is_refused() -> None:
    """Such as a word for a number."""
    with pytest.raises(UsageError, match="does not take many"):
        configure(parse_config(TEXT), Candidate.of({DELAY: "many"}))


def test_a_description_names_what_differs() -> None:
    """With a baseline, nothing else."""
    baseline = Candidate.of({BATCH: 8, DELAY: 0, INSTANCES: 1})
    other = Candidate.of({BATCH: 16, DELAY: 2500, INSTANCES: 1})
    assert other.describe(baseline) == "max_batch_size 16, delay 2,500 µs"
    assert baseline.describe(baseline) == "current configuration"
