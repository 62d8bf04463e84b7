"""Make a command's options from the library's options objects, so that each is declared once, in the library."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from serve_cli import output
from serve_cli.stored import bring
from serve_deploy.errors import UsageError
from serve_deploy.option import Made, Option
from serve_deploy.stores.address import StoreAddress, is_store_address
from serve_deploy.stores.options import TrustOptions

Flags = Mapping[str, str | tuple[str, ...]]
_UNITS = {"_seconds": "SECONDS", "_us": "US"}
_METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}
_MOST, _MOST_SECONDS = 2**31 - 1, 1_000_000
_UNSET = inspect.Parameter.empty
# The field that is told from which store another one was pulled.
_PULLED_FROM = "pulled_from"
# How pathlib leaves an address: with one slash.
_ADDRESS = re.compile(r"(s3|gs|as|oci|file):/(?=[^/])")


@dataclass(frozen=True)
class _Asked:
    """One option of a command: the field it sets, how it is asked for, and how its value is made."""

    field: str
    flag: str
    parameter: inspect.Parameter
    convert: Callable[[Any], Any]
    bare: str | None = None
    takes_paths: bool = False
    takes_stores: bool = False


def takes_options(
    *,
    flags: Flags | None = None,
    arguments: Collection[str] = (),
    without: Collection[str] = (),
    defaults: Mapping[str, Any] | None = None,
    needs: str = "",
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of every options class that one of its parameters is annotated with.

    `flags` has what a field is called on the command line where its own name does not do, `arguments` the fields that
    have a place instead of a flag, `without` those that the command decides itself, `defaults` those that the command
    line has in place of the library's. `needs` is the field that names all models that the command takes of a store.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own: list[inspect.Parameter] = []
        classes: dict[str, Callable[..., Any]] = {}
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            if inspect.isclass(parameter.annotation) and dataclasses.is_dataclass(parameter.annotation):
                classes[parameter.name] = parameter.annotation
            else:
                own.append(parameter)
        asked: dict[str, _Asked] = {}
        for options_class in classes.values():
            for name, hint, default in _list_options(options_class):
                if name not in without:
                    default = (defaults or {}).get(name, default)
                    asked.setdefault(name, _ask(name, hint, default, flags or {}, name in arguments))
        names = {each.field: each.flag for each in asked.values()}

        @functools.wraps(command)
        def run(**given: Any) -> None:
            output.name_flags(names)
            values = _read_values(asked, given)
            stored = _find_stored(values, asked)
            built = {name: _build(options_class, values | stored) for name, options_class in classes.items()}
            # After the options were built, so that what they refuse is refused before a store is asked.
            command(**_bring_stored(built, values, stored, needs), **given)

        _declare(run, asked, own, names)
        del run.__wrapped__  # or its own signature would be read
        return run

    return decorate


def _declare(run: Any, asked: Mapping[str, _Asked], own: Sequence[inspect.Parameter], names: Mapping[str, str]) -> None:
    """Give the command the signature that typer reads, and what the parser of its words asks for."""
    parameters = [_translated(each.parameter, names) for each in asked.values()]
    parameters.sort(key=lambda parameter: parameter.default is not _UNSET)
    wanted = [p.replace(kind=p.KEYWORD_ONLY) for p in (*parameters, *own)]
    paths = {each.field for each in asked.values() if each.takes_paths}
    run.paths = paths | {each.name for each in own if Path in _parts(each.annotation)}
    run.bare = {each.flag: each.bare for each in asked.values() if each.bare}
    run.__signature__ = inspect.Signature(wanted)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in wanted}


def _read_values(asked: Mapping[str, _Asked], given: dict[str, Any]) -> dict[str, Any]:
    """The fields' values, taken out of what was given on the command line."""
    return {
        name: each.convert(value)
        for name, each in asked.items()
        if (value := given.pop(each.parameter.name)) is not None
    }


def _find_stored(values: Mapping[str, Any], asked: Mapping[str, _Asked]) -> dict[str, StoreAddress]:
    """The stores in fields that take only folders, and which one the options are told that it is from."""
    stored = {name: value for name, value in values.items() if isinstance(value, StoreAddress)}
    if not stored and not any(isinstance(value, str) and is_store_address(value) for value in values.values()):
        _refuse_trust(_build(TrustOptions, values))
    pulled = {name: address for name, address in stored.items() if not asked[name].takes_stores}
    for address in [*pulled.values()]:
        pulled[_PULLED_FROM] = address
    return pulled


def _bring_stored(
    built: Mapping[str, Any], values: Mapping[str, Any], stored: Mapping[str, StoreAddress], needs: str
) -> Mapping[str, Any]:
    """The options with folders in place of stores."""
    trust, models = _build(TrustOptions, values), _names(values.get(needs))
    folders = {name: bring(address, trust, models) for name, address in stored.items() if name != _PULLED_FROM}
    return {
        name: dataclasses.replace(options, **{field: folders[field] for field in folders if hasattr(options, field)})
        for name, options in built.items()
    }


def _names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value or ()


def _refuse_trust(trust: TrustOptions) -> None:
    """A folder is not checked: whoever asks for a signature must not believe that it was."""
    if trust != TrustOptions():
        raise UsageError("`require_signature` is for stores", hint="name a store; a folder has no signature")


def _list_options(source: Callable[..., Any]) -> Iterator[tuple[str, Any, Any]]:
    """Name, annotation and default of every option that an options class, or a function that makes a value, takes."""
    hints = get_type_hints(source, include_extras=True)
    for name, default in _defaults(source).items():
        for item in getattr(hints.get(name), "__metadata__", ()):
            if isinstance(item, Made):
                yield from _list_options(item.make)
            elif isinstance(item, Option):
                yield name, hints[name], default


def _defaults(source: Callable[..., Any]) -> dict[str, Any]:
    if not dataclasses.is_dataclass(source):
        return {name: parameter.default for name, parameter in inspect.signature(source).parameters.items()}
    missing = dataclasses.MISSING
    return {
        field.name: field.default_factory()
        if field.default_factory is not missing
        else (_UNSET if field.default is missing else field.default)
        for field in dataclasses.fields(source)
    }


def _build(source: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    hints = get_type_hints(source, include_extras=True)
    given = {_PULLED_FROM: values[_PULLED_FROM]} if _PULLED_FROM in hints and _PULLED_FROM in values else {}
    for name in _defaults(source):
        for item in getattr(hints.get(name), "__metadata__", ()):
            if isinstance(item, Made):
                given[name] = _build(item.make, values)
            elif isinstance(item, Option) and name in values:
                given[name] = values[name]
    return source(**given)


def _ask(name: str, hint: Any, default: Any, flags: Flags, positional: bool) -> _Asked:
    option = next(item for item in hint.__metadata__ if isinstance(item, Option))
    asked_type, convert = _surface(name, get_args(hint)[0], option)
    # No number of a command line is below 0.
    least = 0 if option.minimum is None and asked_type in (int, float) else option.minimum
    declared = flags.get(name) or _flag(name, negative=default is True)
    declarations = (declared,) if isinstance(declared, str) else declared
    if default is True:
        default, convert = False, lambda value: not value
    elif default is not _UNSET and (get_origin(asked_type) is list or option.read):
        default = None
    if default is None:
        asked_type = asked_type | None
    metavar = option.metavar or _metavar(name, asked_type)
    settings: dict[str, Any] = {"help": option.help, "metavar": metavar, "min": least, "max": option.maximum}
    info = (
        typer.Argument(**settings)
        if positional
        else typer.Option(*declarations, **settings, rich_help_panel=option.group)
    )
    parameter = inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default,
        annotation=Annotated[asked_type, info],
    )  # fmt: skip
    said = metavar or name.upper() if positional else next(flag for flag in declarations if flag.startswith("--"))
    parts = _parts(get_args(hint)[0])
    return _Asked(
        name, said, parameter, convert, option.bare, not parts.isdisjoint((Path, StoreAddress)), StoreAddress in parts
    )


def _parts(hint: Any) -> set[Any]:
    """The types in a type, such as Path in list[Path] | None."""
    return {hint}.union(*map(_parts, get_args(hint)))


def _surface(name: str, hint: Any, option: Option) -> tuple[Any, Callable[[Any], Any]]:
    """The type that a command line has for a field's, and what makes the field's value of it."""
    if get_origin(hint) in (Union, UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
    read: Callable[[Any], Any] = option.read or _reader(name, hint)
    if option.joined:
        return list[str], lambda values: read(",".join(values))
    if get_origin(hint) is tuple:
        item = str if option.read else get_args(hint)[0]
        return list[item], lambda values: tuple(map(read, values))  # type: ignore[valid-type]
    return (str if option.read else hint), read


def _reader(name: str, hint: Any) -> Callable[[Any], Any]:
    if hint in (int, float):
        return _limit(name)
    if hint is Path:
        return lambda value: _require_local(name, value)
    return lambda value: value


def _require_local(name: str, path: Path) -> Path:
    """Refuse a store's address where only a file or folder of this machine does."""
    address = _ADDRESS.sub(r"\1://", str(path))
    if address != str(path):
        raise UsageError(
            f"`{name}={address}` is not on this machine",
            hint="serve pull copies a store's models into a folder",
        )
    return path


def _limit(name: str) -> Callable[[Any], Any]:
    """Refuse what no option means: infinity, no number at all, and more than a timer or Triton's protobuf holds."""
    most = _MOST_SECONDS if name.endswith("_seconds") else _MOST

    def check(value: float) -> float:
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"`{name}={value}` is not a finite number")
        if value > most:
            raise UsageError(f"`{name}={value}` is too large", hint=f"the most is {most:,}")
        return value

    return check


def _flag(name: str, *, negative: bool) -> str:
    plain = re.sub("|".join(f"{unit}$" for unit in _UNITS), "", name).replace("_", "-")
    return f"--no-{plain}" if negative else f"--{plain}"


def _metavar(name: str, asked_type: Any) -> str | None:
    for unit, metavar in _UNITS.items():
        if name.endswith(unit):
            return metavar
    types = _parts(asked_type)
    if any(get_origin(each) is Literal for each in types) or bool in types:
        return None
    return next((metavar for kind, metavar in _METAVARS.items() if kind in types), None)


def _translated(parameter: inspect.Parameter, names: Mapping[str, str]) -> inspect.Parameter:
    """The parameter with flags in place of field names in its help."""
    info = parameter.annotation.__metadata__[0]
    info.help = output.in_flags(info.help, names)
    return parameter
