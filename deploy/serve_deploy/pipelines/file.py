"""Read a pipeline file: its steps, and what it says of how they join."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from serve_deploy.errors import UsageError
from serve_deploy.model_config.problem import did_you_mean

StepKind = Literal["model", "function", "standard"]
_KINDS: tuple[StepKind, ...] = ("model", "function", "standard")
_STEP_NAME = re.compile(r"[A-Za-z0-9_-]+")
_COMMON = ("name", "inputs")
_EXAMPLE = "write it as `classifier: {model: resnet18.onnx}`"


@dataclass(frozen=True)
class StepText:
    """A step as the file has it: `source` is a model's name or file, a function file, or a standard step's name."""

    name: str
    kind: StepKind
    source: str
    model_name: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PipelineText:
    """A pipeline file; `outputs` are references by name, None where the file leaves them to the last step."""

    path: Path
    name: str | None
    steps: tuple[StepText, ...]
    outputs: Mapping[str, str] | None = None
    max_batch_size: int | None = None


def read_pipeline(path: Path) -> PipelineText:
    """Read a pipeline file; UsageError names the line or the key that is wrong."""
    document = _load(path)
    try:
        return parse_pipeline(path, document)
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", hint=error.hint) from None


def parse_pipeline(path: Path, document: Any) -> PipelineText:
    """What a loaded file says; UsageError names the key that is wrong."""
    values = _mapping(document, "the file", "it has the keys name, steps and, if needed, outputs and max_batch_size")
    _refuse_unknown(values, ("name", "steps", "outputs", "max_batch_size"), "")
    if not values.get("steps"):
        raise UsageError("it has no steps", hint=_EXAMPLE)
    steps = _mapping(values["steps"], "steps", _EXAMPLE)
    return PipelineText(
        path=path,
        name=_text(values.get("name"), "name"),
        steps=tuple(_read_step(name, step) for name, step in steps.items()),
        outputs=_read_outputs(values.get("outputs")),
        max_batch_size=_read_size(values.get("max_batch_size"), "max_batch_size"),
    )


def _read_step(name: Any, values: Any) -> StepText:
    if not isinstance(name, str) or not _STEP_NAME.fullmatch(name):
        raise UsageError(f"the step's name {name!s} does not work", hint="use letters, digits, '_' and '-'")
    where = f"step '{name}'"
    values = _mapping(values, where, _EXAMPLE)
    kinds = [kind for kind in _KINDS if kind in values]
    if len(kinds) != 1:
        said = f"has {' and '.join(kinds)}" if kinds else "says neither model, function nor standard"
        hint = did_you_mean(next(iter(values), ""), _KINDS) if not kinds else ""
        raise UsageError(f"{where} {said}", hint=hint or "a step has exactly one of model, function and standard")
    kind = kinds[0]
    settings = {key: value for key, value in values.items() if key not in (*_COMMON, kind)}
    if kind != "standard":
        _refuse_unknown(values, (*_COMMON, kind, *(_PACKAGING if kind == "model" else ())), f"{where}: ")
        settings = {key: _PACKAGING[key](value, f"{where}: {key}") for key, value in settings.items()}
    source = _text(values[kind], f"{where}: {kind}")
    if not source:
        raise UsageError(f"{where}: {kind} is empty", hint=_EXAMPLE)
    return StepText(
        name=name,
        kind=kind,
        source=source,
        model_name=_text(values.get("name"), f"{where}: name"),
        inputs=_read_references(values.get("inputs"), f"{where}: inputs"),
        settings=settings,
    )


def _read_outputs(values: Any) -> Mapping[str, str] | None:
    """`[labels.label]` names each output as its tensor, `{best: labels.label}` gives it a name."""
    if values is None:
        return None
    if isinstance(values, list):
        references = [_text(value, "outputs") or "" for value in values]
        names = [reference.partition(".")[2] or reference for reference in references]
        for index, name in enumerate(names):
            if name in names[:index]:
                other = references[names.index(name)]
                raise UsageError(
                    f"outputs: {other} and {references[index]} would both be called '{name}'",
                    hint=f"give them names: outputs: {{{name}: {other}, other_{name}: {references[index]}}}",
                )
        values = dict(zip(names, references, strict=True))
    if isinstance(values, str):
        raise UsageError("outputs is not a list", hint=f"write it as [{values}]")
    outputs = _read_references(values, "outputs")
    if not outputs:
        raise UsageError("outputs: it is empty", hint="leave it out for the outputs of the last step")
    return outputs


def _read_references(values: Any, where: str) -> Mapping[str, str]:
    if values is None:
        return {}
    pairs = _mapping(values, where, "write it as {pixel_values: decode.image}")
    return {str(key): _text(value, f"{where}.{key}") or "" for key, value in pairs.items()}


def _read_size(value: Any, where: str) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31):
        return value
    raise UsageError(f"{where}: {value!s} is not a batch size", hint="give a whole number; 0 is no batching")


def _text(value: Any, where: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise UsageError(f"{where}: {value!s} is not text", hint="put it in quotes")


def _yes_or_no(value: Any, where: str) -> bool:
    if isinstance(value, bool):
        return value
    raise UsageError(f"{where}: {value!s} is neither true nor false", hint="write true or false")


# What a step may set of the model file that it packages; the rest is for serve package.
_PACKAGING: Mapping[str, Callable[[Any, str], Any]] = {
    "samples": _text, "max_batch_size": _read_size, "fix": _yes_or_no, "labels": _text, "signature": _text,
}  # fmt: skip


def _mapping(value: Any, where: str, hint: str) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    raise UsageError(f"{where} is empty" if value is None else f"{where} is not a mapping of keys to values", hint=hint)


def _refuse_unknown(values: Iterable[Any], known: Sequence[str], where: str) -> None:
    for key in values:
        if key not in known:
            hint = did_you_mean(str(key), known) or f"it may have: {', '.join(known)}"
            raise UsageError(f"{where}there is no key '{key}'", hint=hint)


def _load(path: Path) -> Any:
    import yaml

    class UniqueKeys(yaml.SafeLoader):
        """YAML lets a later key replace an earlier one in silence: here that would lose a step."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key, _value in node.value:
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise UsageError(
                        f"{path}, line {line}: '{key.value}' is there twice", hint="give each its own name"
                    )
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(path.read_text(encoding="utf-8"), UniqueKeys)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not UTF-8 text", hint="a pipeline is a YAML file; serve package takes model files"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path}{line}: it is not YAML: {error.problem}", hint="check the indentation") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {error}") from error
