"""What a user set for a model: kept for its next version, and what changes said."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from serve_deploy.errors import InvalidModelError
from serve_deploy.manifest import MANIFEST_NAME, PROFILE_SETTINGS, Manifest
from serve_deploy.model_config import ConfigOptions
from serve_deploy.packaging.options import BackendParameter, FrameworkOptions, PackageOptions, StatefulOptions
from serve_deploy.refused_values import say_plainly

Settings = dict[str, Any]
# These follow from the model.
_DERIVED = {"name", "backend", "label_files", "warmup", "warmup_batch_sizes", "sequences"}
_CONFIG = tuple(field.name for field in fields(ConfigOptions) if field.name not in _DERIVED)
_OWN = ("release", "max_batch_size", "profiles", PROFILE_SETTINGS, "engine_cache")
_KNOWN = {*_CONFIG, *_OWN, "warmup", "labels", "sequences", "signature", "parameters"}
_POLICY, _STATEFUL = "queue_policy", "stateful"
# Which options set a field of the configuration.
_SETTERS = {
    "max_batch_size": ("max_batch_size",),
    "version_policy": ("version_policy",),
    "output": ("labels", "signature"),
    "instance_group": ("devices", "instances"),
    "parameters": ("threads", "parallel_threads", "parameters"),
    "input": ("signature",),
    "optimization": ("optimization",),
    "dynamic_batching": (
        "max_queue_delay_us", "preferred_batch_sizes", "preserve_ordering", "queue_policy", "priority_levels",
        "default_priority_level",
    ),
    "sequence_batching": ("stateful", "max_queue_delay_us", "preferred_batch_sizes", "preserve_ordering"),
    "response_cache": ("response_cache",),
    "model_warmup": ("warmup",),
}  # fmt: skip


def given_settings(options: PackageOptions) -> Settings:
    """What differs from the defaults, by option, as JSON; labels are kept by what is in them, not by their file."""
    config = _config_options().dump_python(options.config, mode="json", exclude_defaults=True, include=set(_CONFIG))
    cache = str(options.engine_cache)
    own = {
        "release": options.release,
        "max_batch_size": options.max_batch_size,
        "profiles": None if options.profiles is None else list(options.profiles),
        PROFILE_SETTINGS: {name: dict(each) for name, each in options.profile_settings.items()} or None,
        "engine_cache": cache if cache != str(PackageOptions.engine_cache) else None,
        "signature": options.framework.signature,
        "parameters": options.framework.named_parameters or None,
    }
    return {
        **config,
        **{name: value for name, value in own.items() if value is not None},
        **({} if options.warmup else {"warmup": False}),
        **({"labels": True} if options.labels else {}),
        **_given_sequences(options),
    }


def _given_sequences(options: PackageOptions) -> Settings:
    """How sequences are served; a first state stays a file of the user's."""
    if not options.sequences.stateful:
        return {}
    given = _stateful_options().dump_python(
        options.sequences, mode="json", exclude_defaults=True, exclude={"initial_state"}
    )
    return {_STATEFUL: given}


def kept_settings(options: PackageOptions, manifest: Manifest | None) -> Settings:
    """What was set before and is not given anew."""
    if manifest is None or not options.keep_settings:
        return {}
    given = given_settings(options)
    kept = {name: value for name, value in manifest.settings.items() if name in _KNOWN and name not in given}
    # The parts of these are options of their own.
    for name in (_POLICY, _STATEFUL):
        before, now = manifest.settings.get(name), given.get(name, {})
        if before and {**before, **now} != now:
            kept[name] = {**before, **now}
    if of_profiles := kept.get(PROFILE_SETTINGS):
        kept[PROFILE_SETTINGS] = _kept_of_profiles(of_profiles, given)
    return kept


def _kept_of_profiles(settings: Mapping[str, Settings], given: Settings) -> dict[str, Settings]:
    """What single profiles were set to, but for what is given now for all of them."""
    return {
        profile: {name: value for name, value in own.items() if name not in given} for profile, own in settings.items()
    }


def apply_settings(options: PackageOptions, kept: Settings) -> PackageOptions:
    """The options with what is kept; InvalidModelError where the manifest was changed to something else."""
    try:
        before = _config_options().validate_python({k: v for k, v in kept.items() if k in _CONFIG})
        sequences = _stateful_options().validate_python(kept.get(_STATEFUL, {}))
    except ValidationError as error:
        raise InvalidModelError(
            f"{MANIFEST_NAME}: `settings` cannot be read: {say_plainly(error.errors()[0]['msg'])}",
            hint="`keep_settings=False` starts from the defaults",
        ) from error
    config = replace(options.config, **{name: getattr(before, name) for name in _CONFIG if name in kept})
    own: dict[str, Any] = {name: kept[name] for name in ("release", "max_batch_size", "warmup") if name in kept}
    made = (("profiles", tuple), (PROFILE_SETTINGS, dict), ("engine_cache", Path))
    own |= {name: make(kept[name]) for name, make in made if name in kept}
    if _STATEFUL in kept:
        own["sequences"] = replace(sequences, initial_state=options.sequences.initial_state)
    return replace(options, config=config, framework=_apply_framework(options.framework, kept), **own)


def _apply_framework(framework: FrameworkOptions, kept: Settings) -> FrameworkOptions:
    if "signature" in kept:
        framework = replace(framework, signature=str(kept["signature"]))
    if "parameters" in kept:
        parameters = tuple(BackendParameter(*item) for item in kept["parameters"].items())
        framework = replace(framework, parameters=parameters)
    return framework


def with_profile_settings(config: ConfigOptions, settings: Mapping[str, Any]) -> ConfigOptions:
    """The options with what was set for one profile alone."""
    known = {name: value for name, value in settings.items() if name in _CONFIG}
    own = _config_options().validate_python(known)
    return replace(config, **{name: getattr(own, name) for name in known})


@cache
def _config_options() -> TypeAdapter[ConfigOptions]:
    return TypeAdapter(ConfigOptions)  # takes longer to build than a small model to package


@cache
def _stateful_options() -> TypeAdapter[StatefulOptions]:
    return TypeAdapter(StatefulOptions)


def describe_settings(settings: Settings) -> str:
    """`instances=2`, `response_cache`: the options, and the values that are plain."""
    return ", ".join(
        f"`{name}={value}`" if isinstance(value, int | str) and not isinstance(value, bool) else f"`{name}`"
        for name, value in settings.items()
    )


def describe_changes(old: Any, new: Any, given: Collection[str]) -> Iterator[str]:
    """Each value that differs between two configurations: `instance_group[0].count: 2 → 4 (given)`."""
    before, after = _flatten(old), _flatten(new)
    for path in sorted(before.keys() | after.keys()):
        values = [each.get(path) or _unset(path, other) for each, other in ((before, after), (after, before))]
        if values[0] != values[1]:
            setters = _SETTERS.get(path.split(".")[0].split("[")[0], ())
            origin = "given" if set(setters) & set(given) else "not given: from the model or a default"
            yield f"{path}: {values[0]} → {values[1]} ({origin})"


def _unset(path: str, other: Mapping[str, str]) -> str:
    """What a field that is not there counts as, beside its value in the other configuration."""
    value = other.get(path, "")
    return "0" if value.lstrip("-").isdigit() else "False" if value == "True" else "not set"


def _flatten(config: Any) -> dict[str, str]:
    from google.protobuf.json_format import MessageToDict

    message = MessageToDict(config, preserving_proto_field_name=True)
    # Warm-up requests are said by their batch sizes; their data are samples.
    message["model_warmup"] = [str(warmup.batch_size) for warmup in config.model_warmup]
    return dict(_leaves("", message))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{path}.{key}".lstrip("."), item)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for index, item in enumerate(value):
            yield from _leaves(f"{path}[{index}]", item)
    elif isinstance(value, list):
        if value:
            yield path, f"[{', '.join(map(str, value))}]"
    else:
        yield path, str(value)
