"""A candidate's values in a configuration: read from its fields, and written into a copy of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from serve_deploy.errors import UsageError
from serve_deploy.model_config.accelerators import parse_optimization
from serve_deploy.tuning.candidates.candidate import ACCELERATOR, BATCH, DELAY, INSTANCES, Candidate, Value, write_value


def read_candidate(config: Any, paths: Iterable[str]) -> Candidate:
    """What a configuration says of these fields; Triton's own default where it says nothing of the instances."""
    return Candidate.of({path: _read_field(config, path) for path in paths})


def _read_field(config: Any, path: str) -> Value:
    if path == INSTANCES:
        return config.instance_group[0].count or 1 if config.instance_group else None
    if path == ACCELERATOR:
        accelerators = config.optimization.execution_accelerators
        named = [*accelerators.gpu_execution_accelerator, *accelerators.cpu_execution_accelerator]
        return named[0].name if named else None
    first, _, rest = path.partition(".")
    if first == "parameters":
        return _plain(config.parameters[rest].string_value) if rest in config.parameters else None
    owner, field = _owner(config, path)
    value = getattr(owner, field.name)
    if field.is_repeated:
        return tuple(value) or None
    if path == DELAY and not config.HasField("dynamic_batching"):
        # Triton then executes every request alone, which a delay of 0 does not say.
        return None
    if not value and path not in (BATCH, DELAY):
        return None
    return _enum_name(field, value)


def _plain(text: str) -> Value:
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def _enum_name(field: Any, value: Any) -> Value:
    return str(field.enum_type.values_by_number[value].name) if field.enum_type else value


def _owner(config: Any, path: str) -> tuple[Any, Any]:
    """The message that holds a field, and the field's descriptor; UsageError where there is no such field."""
    message = config
    *parents, last = path.split(".")
    for name in parents:
        field = message.DESCRIPTOR.fields_by_name.get(name)
        if field is None or field.message_type is None or field.is_repeated:
            raise _no_field(path, name)
        message = getattr(message, name)
    field = message.DESCRIPTOR.fields_by_name.get(last)
    if field is None or field.message_type is not None:
        raise _no_field(path, last)
    return message, field


def _no_field(path: str, name: str) -> UsageError:
    return UsageError(
        f"`vary={path}`: Triton's configuration has no single value called '{name}' there",
        hint="name it as config.pbtxt does, with dots, such as dynamic_batching.preserve_ordering",
    )


def configure(config: Any, candidate: Candidate) -> Any:
    """A copy of the configuration with the candidate's values; UsageError where a field cannot hold one."""
    changed = type(config)()
    changed.CopyFrom(config)
    before = read_candidate(config, tuple(path for path, _ in candidate.values))
    for path, value in candidate.values:
        if value != before[path]:
            _write_field(changed, path, value)
    _fit(changed)
    return changed


def _write_field(config: Any, path: str, value: Value) -> None:
    try:
        if path == INSTANCES:
            for group in config.instance_group or [config.instance_group.add()]:
                group.count = value or 1
        elif path == ACCELERATOR:
            _write_accelerator(config, value)
        elif path.startswith("parameters."):
            _write_parameter(config, path.partition(".")[2], value)
        else:
            _write_plain(config, path, value)
    except (TypeError, ValueError, KeyError) as error:
        raise UsageError(f"`vary={path}`: the field does not take {write_value(value)}", hint=str(error)) from error


def _write_parameter(config: Any, name: str, value: Value) -> None:
    if value is None:
        del config.parameters[name]
    else:
        config.parameters[name].string_value = write_value(value)


def _write_accelerator(config: Any, value: Value) -> None:
    accelerators = config.optimization.execution_accelerators
    accelerators.Clear()
    if value is None:
        config.optimization.ClearField("execution_accelerators")
        return
    asked = parse_optimization(str(value))
    kind = (
        accelerators.cpu_execution_accelerator
        if asked.accelerator == "openvino"
        else accelerators.gpu_execution_accelerator
    )
    kind.add(name=asked.accelerator, parameters=asked.parameters)


def _write_plain(config: Any, path: str, value: Value) -> None:
    owner, field = _owner(config, path)
    if value is None:
        owner.ClearField(field.name)
        if path == DELAY:
            config.ClearField("dynamic_batching")
    elif field.is_repeated:
        owner.ClearField(field.name)
        getattr(owner, field.name).extend(value if isinstance(value, tuple) else (value,))
    else:
        # A value that is the default makes the message present nevertheless.
        owner.SetInParent()
        setattr(owner, field.name, field.enum_type.values_by_name[value].number if field.enum_type else value)


def _fit(config: Any) -> None:
    """What must follow from a smaller largest batch: preferred sizes and warm-up beyond it make Triton refuse."""
    most = config.max_batch_size
    fitting = [size for size in config.dynamic_batching.preferred_batch_size if size <= most]
    if config.HasField("dynamic_batching"):
        del config.dynamic_batching.preferred_batch_size[:]
        config.dynamic_batching.preferred_batch_size.extend(fitting)
    if most:
        for warmup in config.model_warmup:
            warmup.batch_size = min(warmup.batch_size, most)
