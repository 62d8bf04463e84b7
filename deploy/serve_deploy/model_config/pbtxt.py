"""config.pbtxt: print a ModelConfig with the reason behind each line, and read one."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_deploy.errors import InvalidModelError

CONFIG_NAME = "config.pbtxt"
_COMMENT_COLUMN = 48
# Protobuf's own printer drops zeros; these say something to the reader.
_WRITTEN_ZEROS = frozenset(
    {
        "max_batch_size", "input.reshape.shape", "output.reshape.shape",
        "dynamic_batching.max_queue_delay_microseconds",
        "dynamic_batching.default_queue_policy.timeout_action",
        "dynamic_batching.default_queue_policy.default_timeout_microseconds",
        "dynamic_batching.default_queue_policy.max_queue_size",
    }
)  # fmt: skip


def format_config(config: Any, reasons: Mapping[str, str]) -> str:
    """Print the configuration; a reason is a comment behind the line of its path, such as `input.dims`.

    A path with an index or key (`input[0].dims`, `parameters[execution_mode]`) goes before the same without.
    """
    return "".join(f"{line}\n" for line in _message_lines(config, _Place(reasons)))


def parse_config(text: str, source: Path | str = CONFIG_NAME) -> Any:
    """Read a config.pbtxt; InvalidModelError with line and column where it is none."""
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    try:
        return text_format.Parse(text, ModelConfig())
    except text_format.ParseError as error:
        raise InvalidModelError(
            f"{source}: {error}",
            hint="correct the line; the fields are those of model_config.proto in triton-inference-server/common",
        ) from error


@dataclass(frozen=True)
class _Place:
    """Where in the configuration a line is: its paths, the most specific first, and how deep."""

    reasons: Mapping[str, str]
    paths: tuple[str, ...] = ("",)
    indent: str = ""

    def field(self, name: str) -> _Place:
        return _Place(self.reasons, tuple(f"{path}.{name}".lstrip(".") for path in self.paths), self.indent)

    def item(self, key: object) -> _Place:
        return _Place(self.reasons, (*(f"{path}[{key}]" for path in self.paths), *self.paths), self.indent)

    def deeper(self) -> _Place:
        return _Place(self.reasons, self.paths, f"{self.indent}  ")

    @property
    def general_path(self) -> str:
        return self.paths[-1]

    def line(self, text: str) -> str:
        bare = f"{self.indent}{text}"
        reason = next((self.reasons[path] for path in self.paths if self.reasons.get(path)), None)
        return f"{bare.ljust(_COMMENT_COLUMN)}  # {' '.join(reason.split())}" if reason else bare


def _message_lines(message: Any, place: _Place) -> Iterator[str]:
    present = {field.name for field, _value in message.ListFields()}
    for field in message.DESCRIPTOR.fields:
        here = place.field(field.name)
        if field.name in present or here.general_path in _WRITTEN_ZEROS:
            yield from _field_lines(field, getattr(message, field.name), here)


def _field_lines(field: Any, value: Any, place: _Place) -> Iterator[str]:
    if field.message_type is None:
        yield place.line(f"{field.name}: {_format_value(field, value)}")
    elif field.message_type.GetOptions().map_entry:
        for key in sorted(value):
            yield from _map_entry_lines(field, key, value[key], place)
    elif field.is_repeated:
        for index, item in enumerate(value):
            yield from _block_lines(field.name, item, place.item(index))
    else:
        yield from _block_lines(field.name, value, place)


def _map_entry_lines(field: Any, key: Any, value: Any, place: _Place) -> Iterator[str]:
    key_field, value_field = (field.message_type.fields_by_name[part] for part in ("key", "value"))
    inside = place.item(key).deeper()
    yield f"{place.indent}{field.name} {{"
    yield inside.line(f"key: {_format_value(key_field, key)}")
    if value_field.message_type is None:
        yield f"{inside.indent}value: {_format_value(value_field, value)}"
    else:
        yield f"{inside.indent}value {{"
        yield from _message_lines(value, inside.deeper())
        yield f"{inside.indent}}}"
    yield f"{place.indent}}}"


def _block_lines(name: str, message: Any, place: _Place) -> Iterator[str]:
    lines = list(_message_lines(message, place.deeper()))
    if not lines:
        yield place.line(f"{name} {{}}")
        return
    yield place.line(f"{name} {{")
    yield from lines
    yield f"{place.indent}}}"


def _format_value(field: Any, value: Any) -> str:
    if field.is_repeated:
        return "[" + ", ".join(_format_scalar(field, item) for item in value) + "]"
    return _format_scalar(field, value)


def _format_scalar(field: Any, value: Any) -> str:
    from google.protobuf import text_format

    out = io.StringIO()
    text_format.PrintFieldValue(field, value, out, as_utf8=True)
    return out.getvalue()
