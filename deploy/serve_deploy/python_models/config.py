"""config.pbtxt of a Python model, with the reason for each line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from serve_deploy.model_config import ConfigOptions, build_model_config
from serve_deploy.model_config.options import BackendSettings, Devices
from serve_deploy.python_models.model import PythonModel

# The Python backend, as it runs the adapter.
PYTHON_BACKEND = BackendSettings(
    name="python",
    reasons={
        "backend": "Triton runs model.py of the version in its Python backend",
        "input.optional": "the function has a default for it",
        "parameters": "read by the Python backend",
    },
    runs="Python worker",
    batches_optional=True,
)


def on_python(options: ConfigOptions) -> ConfigOptions:
    """The options for the Python backend; on the CPU where the user chose no device."""
    if options.kind:
        return replace(options, backend=PYTHON_BACKEND)
    reasons = {**PYTHON_BACKEND.reasons, "instance_group.kind": "the function is taken to compute on the CPU"}
    return replace(options, devices=Devices("cpu"), backend=replace(PYTHON_BACKEND, reasons=reasons))


def build_python_config(name: str, model: PythonModel) -> Any:
    """The ModelConfig of a Python model, for `format_config`."""
    settings = replace(on_python(ConfigOptions()), name=name)
    return build_model_config(model.signature, model.max_batch_size, settings)
