"""Packaged language models on a real Triton, with stand-ins for the engines that read their files as the engines do."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from checkpoints import config_file

from serve_deploy.packaging.options import LanguageModelOptions, PackageOptions
from serve_deploy.packaging.package import package
from serve_deploy.triton import start_server
from serve_deploy.triton.embedded import _lay_out_backends, _package_root
from serve_deploy.triton.options import ServerOptions
from serve_deploy.triton.server import TritonServer

ANSWER = """
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            for token in self.answer(request):
                tensor = pb_utils.Tensor("text_output", np.array([token.encode()], dtype=object))
                sender.send(pb_utils.InferenceResponse([tensor]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        return None
"""
LLMAPI = f"""
import os

import numpy as np
import triton_python_backend_utils as pb_utils
import yaml


class TritonPythonModel:
    @classmethod
    def auto_complete_config(cls, config):
        with open(os.path.join(pb_utils.get_model_dir(), "model.yaml")) as file:
            triton = yaml.safe_load(file)["triton_config"]
        config.set_model_transaction_policy(dict(decoupled=bool(triton["decoupled"])))
        config.set_max_batch_size(int(triton["max_batch_size"]))
        return config

    def answer(self, request):
        text = pb_utils.get_input_tensor_by_name(request, "text_input").as_numpy()[0].decode()
        count = pb_utils.get_input_tensor_by_name(request, "sampling_param_max_tokens").as_numpy()[0]
        return [f"{{text}}{{index}}" for index in range(count)]
{ANSWER}
"""
VLLM = f"""
import json
import os

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    @classmethod
    def auto_complete_config(cls, config):
        config.add_input({{"name": "text_input", "data_type": "TYPE_STRING", "dims": [1]}})
        config.add_output({{"name": "text_output", "data_type": "TYPE_STRING", "dims": [-1]}})
        config.set_model_transaction_policy(dict(decoupled=True))
        config.set_max_batch_size(0)
        return config

    def initialize(self, arguments):
        config = json.loads(arguments["model_config"])
        with open(os.path.join(pb_utils.get_model_dir(), "model.json")) as file:
            length = json.load(file)["max_model_len"]
        metrics = config["parameters"]["REPORT_CUSTOM_METRICS"]["string_value"]
        self.seen = [arguments["model_instance_kind"], metrics, str(length)]

    def answer(self, request):
        return self.seen
{ANSWER}
"""


def write_model(repository: Path, backend: Any, **language: Any) -> None:
    asked = LanguageModelOptions(checkpoint_config=config_file("llama-3.1-8b"), gpu_profile="l4", **language)
    options = PackageOptions(repository=repository, backend=backend, name="llm", language_model=asked)
    assert package([Path("maker/llm")], options).failed == ()


def ask(server: TritonServer, **inputs: Any) -> list[str]:
    body = json.dumps({"text_input": "t", **inputs}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.http_url}/v2/models/llm/generate_stream", body, headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        lines = answer.read().decode().splitlines()
    return [json.loads(line.removeprefix("data: "))["text_output"] for line in lines if line.startswith("data: ")]


def test_triton_streams_from_the_llmapi_layout(tmp_path: Path) -> None:
    """The configuration goes with what model.py sets, and all tensors but the text are optional."""
    for name, text in (("model.py", LLMAPI), ("helpers.py", "")):
        (tmp_path / name).write_text(text)
    write_model(tmp_path / "models", "tensorrtllm", llmapi=tmp_path)
    with start_server(ServerOptions(repository=tmp_path / "models")) as server:
        assert ask(server, streaming=True, sampling_param_max_tokens=3) == ["t0", "t1", "t2"]


def test_triton_streams_from_the_vllm_layout(tmp_path: Path) -> None:
    """The backend adds its tensors, takes the GPUs itself, reports its metrics, and finds its arguments."""
    root, backends = _package_root(), tmp_path / "backends"
    assert root is not None
    _lay_out_backends(root, backends)
    (backends / "vllm").mkdir()
    (backends / "vllm" / "model.py").write_text(VLLM)
    write_model(tmp_path / "models", "vllm")
    flags = (f"--backend-directory={backends}",)
    with start_server(ServerOptions(repository=tmp_path / "models", extra_arguments=flags)) as server:
        assert ask(server) == ["MODEL", "true", "131072"]
