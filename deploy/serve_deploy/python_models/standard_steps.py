"""The standard steps by name, and a Python model of one with its settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from serve_deploy.errors import UsageError
from serve_deploy.extras import install_command
from serve_deploy.python_models.decode_image_step import settle_decode_image
from serve_deploy.python_models.function_file import DEFAULT_MAX_BATCH_SIZE
from serve_deploy.python_models.model import PythonModel
from serve_deploy.python_models.requirements import find_requirements
from serve_deploy.python_models.settled_step import SettledStep
from serve_deploy.python_models.source_code import read_source
from serve_deploy.python_models.staged_function import StagedFunction
from serve_deploy.python_models.tokenize_step import settle_tokenize
from serve_deploy.python_models.top_k_step import settle_top_k
from serve_deploy.python_models.written import Call, lay_out

_FOLDER = Path(__file__).parent / "standard"


@dataclass(frozen=True)
class _Step:
    """The file of its function, the module that it needs with the extra that brings it, and who reads its settings."""

    file: str
    settle: Callable[[Mapping[str, object], Path], SettledStep]
    module: str = ""
    extra: str = ""


# The file of tokenize has a name of its own, since Python has a module tokenize.
_STEPS = {
    "decode_image": _Step("decode_image", settle_decode_image, "PIL", "image"),
    "tokenize": _Step("tokenize_texts", settle_tokenize, "tokenizers", "llm"),
    "top_k": _Step("top_k", settle_top_k),
}


def standard_step(name: str, settings: Mapping[str, object], folder: Path) -> PythonModel:
    """A standard step; files that the settings name stand in `folder`. UsageError says which setting is wrong."""
    if name not in _STEPS:
        raise UsageError(f"there is no standard step '{name}'", hint=f"there are {', '.join(_STEPS)}")
    step = _STEPS[name]
    if step.module and find_spec(step.module) is None:
        raise UsageError(f"the step {name} needs {step.module}", hint=install_command(step.extra))
    settled = step.settle(settings, folder)
    file = f"{step.file}.py"
    source = (_FOLDER / file).read_bytes()
    requirements = find_requirements(read_source(source, file).imports, (), (), file)
    own = {file: source, "settings.json": json.dumps(settled.settings, indent=1).encode(), **settled.files}
    batch = DEFAULT_MAX_BATCH_SIZE if settled.batches else 0
    return PythonModel(
        source=f"standard step {name}",
        signature=settled.signature,
        max_batch_size=batch,
        files=lay_out(own, Call(file, step.file, merges=settled.merges), requirements),
        run=StagedFunction(own, file, step.file).bind(settled.signature, batched=batch > 0, text=()),
        requirements=requirements,
        samples=settled.samples,
        merges=settled.merges,
        doubt=settled.doubt,
    )
