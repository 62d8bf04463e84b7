"""config.pbtxt: print a ModelConfig with the reason behind each line, and read one."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from serve_deploy.errors import InvalidModelError
from serve_deploy.model_config.problem import did_you_mean

CONFIG_NAME = "config.pbtxt"
CONFIGS_FOLDER = "configs"
_COMMENT_COLUMN = 48
# What other tools call Triton's types.
_TYPES = {
    "TYPE_FLOAT": "TYPE_FP32", "TYPE_FLOAT32": "TYPE_FP32", "TYPE_FLOAT16": "TYPE_FP16", "TYPE_DOUBLE": "TYPE_FP64",
    "TYPE_FLOAT64": "TYPE_FP64", "TYPE_INT": "TYPE_INT32", "TYPE_LONG": "TYPE_INT64", "TYPE_BYTES": "TYPE_STRING",
}  # fmt: skip
# Protobuf's own printer drops zeros; these say something to the reader.
_WRITTEN_ZEROS = frozenset(
    {
        "max_batch_size", "input.reshape.shape", "output.reshape.shape",
        "dynamic_batching.max_queue_delay_microseconds", "sequence_batching.control_input.control.kind",
        "dynamic_batching.default_queue_policy.timeout_action",
        "dynamic_batching.default_queue_policy.default_timeout_microseconds",
        "dynamic_batching.default_queue_policy.max_queue_size",
    }
)  # fmt: skip


def format_config(config: Any, reasons: Mapping[str, str]) -> str:
    """Print the configuration; a reason is a comment behind the line of its path, such as `input.dims`.

    A path with an index or key (`input[0].dims`, `parameters[execution_mode]`) goes before the same without.
    """
    return "".join(f"{line}\n" for line in _message_lines(config, ("",), "", reasons))


def named_config_path(name: str) -> str:
    """Where a model's folder has the configuration that `--model-config-name` chooses by this name."""
    return f"{CONFIGS_FOLDER}/{name}.pbtxt"


def parse_config(text: str, source: Path | str = CONFIG_NAME) -> Any:
    """Read a config.pbtxt; InvalidModelError with line and column where it is none."""
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    try:
        return text_format.Parse(text, ModelConfig())
    except text_format.ParseError as error:
        fields = "correct the line; the fields are those of model_config.proto in triton-inference-server/common"
        raise InvalidModelError(f"{source}: {error}", hint=_suggest_name(str(error)) or fields) from error


def _suggest_name(error: str) -> str:
    """What was meant by a field or a value that protobuf does not know; "" where it complains of something else."""
    from tritonclient.grpc.model_config_pb2 import DESCRIPTOR

    if found := re.search(r'Message type "([^"]+)" has no field named "([^"]+)"', error):
        kind, word = found.groups()
        return did_you_mean(word, DESCRIPTOR.pool.FindMessageTypeByName(kind).fields_by_name)
    if found := re.search(r'Enum type "([^"]+)" has no value named (\w+)', error):
        kind, word = found.groups()
        known = DESCRIPTOR.pool.FindEnumTypeByName(kind).values_by_name
        whole = next((name for name in known if name.endswith(f"_{word}")), word)
        return did_you_mean(_TYPES.get(word, whole), known)
    return ""


def _message_lines(message: Any, paths: tuple[str, ...], indent: str, reasons: Mapping[str, str]) -> Iterator[str]:
    """The lines of a message; `paths` are its own, the most specific first."""
    present = {field.name for field, _value in message.ListFields()}
    for field in message.DESCRIPTOR.fields:
        here = tuple(f"{path}.{field.name}".lstrip(".") for path in paths)
        if field.name not in present and here[-1] not in _WRITTEN_ZEROS:
            continue
        value = getattr(message, field.name)
        if field.message_type is None:
            yield _line(f"{indent}{field.name}: {_format_value(field, value)}", here, reasons)
            continue
        for key, item in _blocks(field, value):
            own = here if key is None else (*(f"{path}[{key}]" for path in here), *here)
            lines = list(_message_lines(item, own, f"{indent}  ", reasons))
            yield _line(f"{indent}{field.name} {{{'' if lines else '}'}", own, reasons)
            yield from (*lines, f"{indent}}}") if lines else ()


def _blocks(field: Any, value: Any) -> Iterator[tuple[object, Any]]:
    """Each message of a field with its index or key; a map is a list of entries with key and value."""
    if field.message_type.GetOptions().map_entry:
        from google.protobuf.message_factory import GetMessageClass

        entry = GetMessageClass(field.message_type)
        yield from ((key, entry(key=key, value=value[key])) for key in sorted(value))
    elif field.is_repeated:
        yield from enumerate(value)
    else:
        yield None, value


def _line(text: str, paths: tuple[str, ...], reasons: Mapping[str, str]) -> str:
    reason = next((reasons[path] for path in paths if reasons.get(path)), None)
    return f"{text.ljust(_COMMENT_COLUMN)}  # {' '.join(reason.split())}" if reason else text


def _format_value(field: Any, value: Any) -> str:
    if field.is_repeated:
        return "[" + ", ".join(_format_scalar(field, item) for item in value) + "]"
    return _format_scalar(field, value)


def _format_scalar(field: Any, value: Any) -> str:
    from google.protobuf import text_format

    out = io.StringIO()
    text_format.PrintFieldValue(field, value, out, as_utf8=True)
    return out.getvalue()
