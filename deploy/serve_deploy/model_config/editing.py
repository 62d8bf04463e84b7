"""Change fields in the text of a config.pbtxt, in whatever form it was written; all else stays as it is. Pure."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serve_deploy.errors import InvalidModelError
from serve_deploy.model_config.pbtxt import format_config, parse_config
from serve_deploy.model_config.written_fields import OtherFormError, WrittenField, WrittenValue, read_fields

_COMMENT_COLUMN = 48


@dataclass(frozen=True)
class _Edit:
    """What takes the place of a span, and why; an empty one is inserted."""

    start: int
    end: int
    text: str
    reason: str = ""


def edit_config(text: str, config: Any, reasons: Mapping[str, str]) -> str:
    """The text with the values of `config`: changed lines have their reason, by path as `format_config` knows it.

    Where that cannot be done line by line the whole configuration is written anew.
    """
    try:
        fields = read_fields(text)
        edits = [*_Differences(text, reasons).between(parse_config(text), config, _Place(fields, len(text)))]
    except OtherFormError:
        return format_config(config, reasons)
    edited = _apply(text, edits)
    return edited if _says(edited, config) else format_config(config, reasons)


def _says(text: str, config: Any) -> bool:
    try:
        return bool(parse_config(text) == config)
    except InvalidModelError:
        return False


@dataclass(frozen=True)
class _Place:
    """A message in the text: its fields, where it ends, and the names that lead to it, as reasons have them too."""

    fields: Sequence[WrittenField]
    close: int
    trail: tuple[str, ...] = ()
    path: str = ""

    def of(self, name: str) -> list[WrittenField]:
        """Where a field is written."""
        return [each for each in self.fields if each.name == name]

    def below(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}".lstrip(".")

    def into(self, value: WrittenValue, name: str, path: str = "") -> _Place:
        """The message in a field."""
        return _Place(value.fields, value.close, (*self.trail, name), path or self.below(name))


@dataclass(frozen=True)
class _Differences:
    """The edits that make one message of another."""

    text: str
    reasons: Mapping[str, str]

    def between(self, old: Any, new: Any, place: _Place) -> Iterator[_Edit]:
        """All of them; OtherFormError where one cannot be made in its place."""
        for field in new.DESCRIPTOR.fields:
            before, after = getattr(old, field.name), getattr(new, field.name)
            if field.message_type is None:
                if before != after:
                    yield from self._replace(field, new, place)
            elif field.message_type.GetOptions().map_entry:
                if before == after:
                    continue
                yield from self._between_maps(field.name, old, new, place)
            elif field.is_repeated:
                yield from self._between_lists(field.name, old, new, place)
            elif old.HasField(field.name) and new.HasField(field.name):
                if before != after:
                    (value,) = _blocks(place.of(field.name), 1)
                    yield from self.between(before, after, place.into(value, field.name))
            elif new.HasField(field.name):
                whole = type(new)()
                getattr(whole, field.name).CopyFrom(after)
                yield self._insert(whole, place, field.name)
            elif old.HasField(field.name):
                yield from self._remove(place.of(field.name), place.below(field.name))

    def _between_maps(self, name: str, old: Any, new: Any, place: _Place) -> Iterator[_Edit]:
        own = place.of(name)
        written = {_key(self.text, value): (field, value) for field in own for value in field.values}
        before, after = getattr(old, name), getattr(new, name)
        for key in sorted({*before, *after}):
            path = f"{place.below(name)}[{key}]"
            if key not in before:
                whole = type(new)()
                getattr(whole, name)[key].CopyFrom(after[key])
                yield self._insert(whole, place, name)
                continue
            if key not in written:
                raise OtherFormError
            field, entry = written[key]
            if key not in after:
                if len(field.values) > 1:
                    raise OtherFormError
                yield from self._remove([field], path)
            elif before[key] != after[key]:
                (value,) = _blocks([each for each in entry.fields if each.name == "value"], 1)
                yield from self.between(before[key], after[key], place.into(value, name, path))

    def _between_lists(self, name: str, old: Any, new: Any, place: _Place) -> Iterator[_Edit]:
        before, after, own = getattr(old, name), getattr(new, name), place.of(name)
        if len(before) == len(after):
            for one, other, value in zip(before, after, _blocks(own, len(after)), strict=True):
                if one != other:
                    yield from self.between(one, other, place.into(value, name))
        elif not before:
            whole = type(new)()
            getattr(whole, name).extend(after)
            yield self._insert(whole, place, name)
        elif not after:
            yield from self._remove(own, place.below(name))
        else:
            raise OtherFormError

    def _replace(self, field: Any, new: Any, place: _Place) -> Iterator[_Edit]:
        own, path, value = place.of(field.name), place.below(field.name), getattr(new, field.name)
        if field.is_repeated and not value:
            yield from self._remove(own, path)
            return
        alone = type(new)()
        if field.is_repeated:
            getattr(alone, field.name).extend(value)
        else:
            setattr(alone, field.name, value)
        if not own:
            yield self._insert(alone, place, field.name)
            return
        first, *others = own
        yield _Edit(first.start, first.end, _in_a_line(alone, field), self._reason(path))
        yield from self._remove(others, "")

    def _insert(self, alone: Any, place: _Place, name: str) -> _Edit:
        """A field, in a message without any other, as `format_config` writes it, at the end of the message."""
        whole = _wrap(alone, place.trail)
        written = format_config(whole, self.reasons).splitlines()
        indented = (line[2 * len(place.trail) :] for line in written)
        # Of the zeros that are written for their own sake none was asked for.
        lines = [line for line in indented if re.match(rf"{name}\b|  |}}", line)]
        start = self.text.rfind("\n", 0, place.close) + 1
        before = self.text[start : place.close]
        if not place.trail:
            lead = "\n" if before else ""
            return _Edit(place.close, place.close, lead + "".join(f"{line}\n" for line in lines))
        if before.strip():
            # The message stands in one line.
            bare = " ".join(line.partition("  #")[0].strip() for line in lines)
            text = f"{bare} " if before.endswith(" ") else f" {bare} "
            return _Edit(place.close, place.close, text, self._reason(place.below(name)))
        return _Edit(start, start, "".join(f"{before}  {line}\n" for line in lines))

    def _remove(self, own: Sequence[WrittenField], path: str) -> Iterator[_Edit]:
        for field in own:
            yield _Edit(field.start, field.end, "", self._reason(path))
            path = ""

    def _reason(self, path: str) -> str:
        """That of the path, or of what it is in."""
        while path and path not in self.reasons:
            path = re.sub(r"(^|[.\[])[^.\[]*$", "", path)
        return " ".join(self.reasons.get(path, "").split())


def _blocks(own: Sequence[WrittenField], count: int) -> list[WrittenValue]:
    values = [value for field in own for value in field.values]
    if len(values) != count:
        raise OtherFormError
    return values


def _key(text: str, entry: WrittenValue) -> str | int:
    (key,) = _blocks([field for field in entry.fields if field.name == "key"], 1)
    written = text[key.start : key.end]
    try:
        # Priorities are numbers.
        return int(written, 0) if written[0] not in "\"'" else _unquoted(written)
    except ValueError as error:
        raise OtherFormError from error


def _unquoted(written: str) -> str:
    return str(next(iter(parse_config(f"parameters {{ key: {written} value {{ }} }}").parameters)))


def _wrap(alone: Any, trail: Sequence[str]) -> Any:
    """A configuration with nothing but this message, at the end of these fields."""
    whole = message = parse_config("")
    for name in trail:
        owner, field = getattr(message, name), message.DESCRIPTOR.fields_by_name[name]
        if field.message_type.GetOptions().map_entry:
            raise OtherFormError
        message = owner.add() if field.is_repeated else owner
    message.CopyFrom(alone)
    message.SetInParent()
    return whole


def _in_a_line(alone: Any, field: Any) -> str:
    """The field of a message without any other; a default too, which protobuf does not write."""
    from google.protobuf import text_format

    out = io.StringIO()
    values = getattr(alone, field.name)
    for value in values if field.is_repeated else (values,):
        out.write(", " if out.tell() else "")
        text_format.PrintFieldValue(field, value, out, as_utf8=True)
    return f"{field.name}: " + (f"[{out.getvalue()}]" if field.is_repeated else out.getvalue())


def _apply(text: str, edits: Sequence[_Edit]) -> str:
    """Make all edits, each with its reason behind its line, or above one that says more."""
    changes = dict.fromkeys(change for edit in edits for change in _place(text, edit))
    # From the end on, so that places stay what they are; what is inserted at one place keeps its order.
    for start, end, new in sorted(reversed(changes), key=lambda change: change[:2], reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _place(text: str, edit: _Edit) -> Iterator[tuple[int, int, str]]:
    """The spans to replace for an edit, and by what."""
    if not edit.reason and edit.text:
        yield edit.start, edit.end, edit.text
        return
    start = text.rfind("\n", 0, edit.start) + 1
    end = text.find("\n", edit.end)
    end = len(text) if end < 0 else end
    before, after = text[start : edit.start], text[edit.end : end]
    indent = before[: len(before) - len(before.lstrip())]
    above = f"{indent}# {edit.reason}\n" if edit.reason else ""
    is_alone = not before.strip() and not after.partition("#")[0].strip(" \t,;")
    if not is_alone:
        yield start, start, above
        yield edit.start, edit.end, edit.text
    elif edit.text:
        yield start, end, f"{before}{edit.text}".ljust(_COMMENT_COLUMN) + f"  # {edit.reason}"
    else:
        yield start, min(end + 1, len(text)), above
