"""A model opened in ONNX Runtime: what it reports, and how it is run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serve_deploy.errors import InvalidModelError
from serve_deploy.onnx.model import DATA_TYPES, OnnxModel, parse_proto, read_model
from serve_deploy.onnx.narrow_values import find_narrow_type, from_ort_value, to_ort_value
from serve_deploy.progress import Progress, silent
from serve_deploy.tensors.types import ModelSignature, TensorSpec

if TYPE_CHECKING:
    from onnx import ModelProto

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]
Run = Callable[[Arrays], dict[str, Array]]

_EXTERNAL_FOLDER_KEY = "session.model_external_initializers_file_folder_path"


@dataclass(frozen=True)
class OpenedModel:
    """A model file and its one ONNX Runtime session on the CPU, which is created at its first use.

    `content` stands for the model's file, with external data in the same place. Without `prepack`, weights stay in
    their files and unread until a run needs them: slower to run, but 1.5 GB of them cost no memory.
    """

    model: OnnxModel
    content: bytes | None = None
    prepack: bool = True
    progress: Progress = silent

    def parse(self) -> ModelProto:
        """The model's graph, for whoever looks into it or changes a copy; parsed again each time, and never kept."""
        return parse_proto(self.model.path, self.content)

    @cached_property
    def session(self) -> Any:
        """The session; InvalidModelError in ONNX Runtime's own words if it refuses the model."""
        import onnxruntime

        self.progress(f"loading {self.model.path.name} into ONNX Runtime")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        if not self.prepack:
            options.add_session_config_entry("session.disable_prepacking", "1")
        if self.content is not None:
            options.add_session_config_entry(_EXTERNAL_FOLDER_KEY, str(self.model.path.parent.resolve()))
        try:
            return _create_session(str(self.model.path) if self.content is None else self.content, options)
        except Exception as error:
            raise InvalidModelError(
                f"ONNX Runtime refuses {self.model.path}: {_describe(error)}",
                hint=_refusal_hint(self.model, str(error)),
            ) from error

    @cached_property
    def signature(self) -> ModelSignature:
        """What ONNX Runtime reports after its own shape inference, and what Triton compares a configuration with."""
        left_out = {tensor.name for tensor in self.model.unsupported}
        inputs = _specs(self.session.get_inputs())
        inputs += _specs(self.session.get_overridable_initializers(), optional=True)
        return ModelSignature(
            inputs=tuple(tensor for tensor in inputs if tensor.name not in left_out),
            outputs=_specs(self.session.get_outputs()),
        )

    @property
    def symbols(self) -> Mapping[str, tuple[str | None, ...]]:
        """The names of each input's free dims."""
        return self.model.symbols

    def run(self, inputs: Arrays, *, timeout_seconds: float | None = None) -> dict[str, Array]:
        """Every output that is a tensor, BF16 and FP8 as float32, INT4 as int8.

        Raises InvalidModelError in ONNX Runtime's own words.
        """
        import onnxruntime

        session = self.session
        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        # In a thread of its own: a run holds its thread until it ends, and Ctrl-C has to end it before that.
        with ThreadPoolExecutor(max_workers=1) as pool:
            running = pool.submit(_run, session, inputs, options)
            try:
                return running.result(timeout_seconds)
            except TimeoutError:
                options.terminate = True
                running.exception()
                raise InvalidModelError(f"the run did not end within {timeout_seconds:g} s") from None
            except Exception as error:
                raise InvalidModelError(_describe(error)) from error
            finally:
                options.terminate = True


def open_model(path: Path, *, prepack: bool = True, progress: Progress = silent) -> OpenedModel:
    """Read a model file, to be loaded into ONNX Runtime once and when needed; raises InvalidModelError."""
    return OpenedModel(read_model(path), prepack=prepack, progress=progress)


def _create_session(source: str | bytes, options: Any) -> Any:
    """Create a session; where StringNormalizer lacks its locale, give it one with the same tables and try again."""
    import onnxruntime

    from serve_deploy.onnx.string_locale import provide_locale

    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if "locale" not in str(error) or not provide_locale():
            raise
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _refusal_hint(model: OnnxModel, error: str) -> str:
    if model.custom_domains:
        return f"it uses operators of {', '.join(model.custom_domains)}, which Triton needs an extra library for"
    if "locale" in error:
        return (
            "StringNormalizer needs the locale en_US.UTF-8: install it here and in Triton's image, or use `fix` to "
            "change it to C.UTF-8"
        )
    if "Could not find an implementation" in error or "NOT_IMPLEMENTED" in error:
        return "if only a GPU can run it, package it without running it: `verify=False` with `max_batch_size`"
    return "check it with onnx.checker, or export it again"


def _specs(values: Iterable[Any], *, optional: bool = False) -> tuple[TensorSpec, ...]:
    specs = []
    for value in values:
        element = str(value.type).removeprefix("tensor(").removesuffix(")")
        if element in DATA_TYPES:
            dims = tuple(d if isinstance(d, int) and d >= 0 else -1 for d in value.shape)
            specs.append(TensorSpec(value.name, DATA_TYPES[element], dims, optional=optional))
    return tuple(specs)


def _run(session: Any, inputs: Arrays, options: Any) -> dict[str, Array]:
    outputs = [output for output in session.get_outputs() if str(output.type).startswith("tensor(")]
    types = {value.name: find_narrow_type(str(value.type)) for value in (*session.get_inputs(), *outputs)}
    names = [output.name for output in outputs]
    if not any(types.values()):
        return dict(zip(names, session.run(names, dict(inputs), options), strict=True))
    return _run_narrow(session, inputs, names, types, options)


def _run_narrow(
    session: Any, inputs: Arrays, names: list[str], types: Mapping[str, str | None], options: Any
) -> dict[str, Array]:
    from onnxruntime import OrtValue

    feeds = {
        name: to_ort_value(array, narrow) if (narrow := types.get(name)) else OrtValue.ortvalue_from_numpy(array)
        for name, array in inputs.items()
    }
    values = session.run_with_ort_values(names, feeds, options)
    return {
        name: from_ort_value(value, narrow) if (narrow := types[name]) else value.numpy()
        for name, value in zip(names, values, strict=True)
    }


def _describe(error: BaseException) -> str:
    """ONNX Runtime's own words in one line, without its prefix and source positions."""
    text = " ".join(str(error).split())
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", text)
    text = re.sub(r"^Load model from \S+ failed:", "", text)
    text = re.sub(r"/\S+\.(?:cc|h):\d+ .*?(?=\w+ was false|Exception|\[ONNXRuntimeError\]|$)", "", text) or text
    # One error around another: what is inside says why.
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : (?:\S+\.(?:cc|h):\d+ \w+ )?", "", text)
    return text.strip()[:400]
