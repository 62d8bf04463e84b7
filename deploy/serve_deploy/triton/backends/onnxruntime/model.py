"""Triton's onnxruntime backend, run by its Python backend: one object of this class is one model instance.

It loads the same model repositories as the native backend of that name and keeps its rules, so that what works here
works in NVIDIA's container. What cannot be done from Python is refused by name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What Triton's Python backend calls."""

    @staticmethod
    def auto_complete_config(model_config: Any) -> Any:
        """Fill in inputs, outputs and batching from the model where the configuration lacks inputs or outputs."""
        config = model_config.as_dict()
        if config.get("input") and config.get("output"):
            return model_config
        from ort_contract import RefusedError, complete_config, read_signature
        from ort_session import find_model_file, open_session

        try:
            path = find_model_file(Path(pb_utils.get_model_dir()), config)
            complete_config(config, read_signature(open_session(path, config)))
        except RefusedError as error:
            raise pb_utils.TritonModelException(str(error)) from None
        return model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model and check that the configuration fits it."""
        from ort_batch import Execution
        from ort_contract import RefusedError, check_config, read_signature
        from ort_session import find_model_file, open_session, run_options

        config = json.loads(args["model_config"])
        try:
            path = find_model_file(Path(args["model_repository"]) / args["model_version"], config)
            session = open_session(path, config)
            signature = read_signature(session)
            check_config(config, signature)
        except RefusedError as error:
            raise pb_utils.TritonModelException(str(error)) from None
        self._execution = Execution(session, run_options(config), signature, config)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests of one dynamic batch by one run of the model."""
        return self._execution.answer(requests)

    def finalize(self) -> None:
        """Free the session."""
        del self._execution
