"""The digest of a configuration is the same from config.pbtxt and from the Triton that serves it."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc.model_config_pb2 import ModelConfig

from serve_deploy.model_config.digest import config_sha256, instance_count
from serve_deploy.triton import ServerOptions, TritonServer, start_server

EXAMPLE = Path(__file__).parents[2] / "charts" / "triton" / "files" / "example-model" / "digits"
TENSORS = """
input { name: "image" data_type: TYPE_FP32 dims: [1, 8, 8] }
output { name: "probabilities" data_type: TYPE_FP32 dims: [10] }
"""
CONFIGS = {
    "digits": 'name: "digits"',
    "delayed": 'name: "delayed" dynamic_batching { max_queue_delay_microseconds: 500 preferred_batch_size: [4, 8] }'
    ' parameters { key: "intra_op_thread_count" value { string_value: "1" } } instance_group { count: 2 }',
    "batched": 'name: "batched" dynamic_batching { } instance_group { count: 1 kind: KIND_CPU }',
}
ENSEMBLE = """name: "both" platform: "ensemble" max_batch_size: 8
input { name: "image" data_type: TYPE_FP32 dims: [1, 8, 8] } output { name: "p" data_type: TYPE_FP32 dims: [10] }
ensemble_scheduling { step { model_name: "digits" model_version: -1
  input_map { key: "image" value: "image" } output_map { key: "probabilities" value: "p" } } }
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = tmp_path_factory.mktemp("models")
    for name, text in CONFIGS.items():
        (repository / name / "1").mkdir(parents=True)
        shutil.copy(EXAMPLE / "1" / "model.onnx", repository / name / "1")
        config = f'{text} backend: "onnxruntime" max_batch_size: 8 {TENSORS}'
        (repository / name / "config.pbtxt").write_text(config)
    (repository / "both" / "1").mkdir(parents=True)
    (repository / "both" / "config.pbtxt").write_text(ENSEMBLE)
    return repository


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[TritonServer]:
    with start_server(ServerOptions(repository=repository)) as running:
        yield running


def written(repository: Path, name: str) -> dict[str, Any]:
    text = (repository / name / "config.pbtxt").read_text()
    document: dict[str, Any] = MessageToDict(text_format.Parse(text, ModelConfig()), preserving_proto_field_name=True)
    return document


def served(server: TritonServer, name: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{server.http_url}/v2/models/{name}/config", timeout=120) as reply:
        document: dict[str, Any] = json.load(reply)
    return document


@pytest.mark.parametrize("name", [*CONFIGS, "both"])
def test_written_and_served_configuration_agree(repository: Path, server: TritonServer, name: str) -> None:
    """Whatever Triton fills in, the digest stays."""
    assert config_sha256(written(repository, name)) == config_sha256(served(server, name))


def test_different_configurations_differ(server: TritonServer) -> None:
    """Batching, its delay and the model's name are told apart."""
    digests = {config_sha256(served(server, name)) for name in [*CONFIGS, "both"]}
    assert len(digests) == len(CONFIGS) + 1


def test_instances_are_counted_where_they_are_written(repository: Path, server: TritonServer) -> None:
    """A configuration without instance groups leaves the number to Triton."""
    assert [instance_count(written(repository, name)) for name in CONFIGS] == [None, 2, 1]
    assert instance_count(served(server, "delayed")) == 2
