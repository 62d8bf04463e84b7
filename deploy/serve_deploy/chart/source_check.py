"""Whether a release's source holds the models that a chart is written for, and how it keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_deploy.chart.model_source import read_source
from serve_deploy.chart.options import ChartOptions
from serve_deploy.errors import EndpointError, ServeError, UsageError, VerificationError
from serve_deploy.overrides import find_value
from serve_deploy.progress import Progress, silent
from serve_deploy.stores.address import StoreAddress, parse_address
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.listing import require_whole
from serve_deploy.stores.manifests.manifests import EmptyStoreError, find_layout, make_snapshot, read_snapshot
from serve_deploy.stores.options import TrustOptions
from serve_deploy.stores.pull.readers import find_trusted
from serve_deploy.stores.signing.trust import SignatureError, Trust, open_trust, verify_any
from serve_deploy.stores.snapshot import Snapshot
from serve_deploy.stores.store import Store
from serve_deploy.stores.transfer.contents import read_contents

_UNCHECKED = "`check_source=False` writes the chart without looking there"
# What Triton does not read, and so may be missing where models were copied by hand.
_NOT_READ = ("/manifest.json", "/samples.npz", "/.gitkeep")
_SHOWN = 3
Values = dict[str, Any]


@dataclass(frozen=True)
class CheckedSource:
    """The chart's modelRepository values for a source; `notes` say what was not compared, or differs harmlessly."""

    values: Values
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Wanted:
    """The repository that the chart is written for, and the source that is to hold it."""

    repository: Path
    snapshot: Snapshot
    address: StoreAddress
    trust: Trust | None


def check_source(repository: Path, options: ChartOptions, progress: Progress = silent) -> CheckedSource:
    """Compare a source's models with a repository's.

    UsageError where the source is wrong or its library is not installed, or cannot be looked into where a signature is
    required; EndpointError where it cannot be reached, VerificationError where it does not hold the repository's
    models, SignatureError where it is not signed as required.
    """
    values = read_source(options.source)
    layout = find_value(options.overrides, "modelRepository.layout") or values.get("layout", "fixed")
    can_look = options.check_source and values["source"] in ("s3", "gcs", "azure", "oci")
    is_seen = can_look and "path" not in values.get("oci", {})
    if options.trust != TrustOptions() and not (is_seen if options.source else options.pulled_from):
        raise _refuse_trust(options)
    if options.source is None or "path" in values.get("oci", {}) or (layout == "fixed" and not can_look):
        return CheckedSource(values, _note_plain(values))
    progress(f"hashing {repository}")
    local = make_snapshot([each.file for each in read_contents(repository)])
    if not can_look:
        return _name_unseen(values, local, options)
    wanted = _Wanted(repository, local, parse_address(options.source), open_trust(options.trust))
    progress(f"looking into {wanted.address.root}")
    try:
        store = None if wanted.address.kind == "oci" else open_store(wanted.address)
    except UsageError as error:
        raise _unseen(error) from error
    try:
        return _look(store, values, wanted) if store else _look_into_registry(values, wanted)
    except EndpointError as error:
        raise _unseen(error) from error


def _unseen(error: ServeError) -> ServeError:
    return type(error)(error.message, hint="; ".join(filter(None, (error.hint, _UNCHECKED))))


def _refuse_trust(options: ChartOptions) -> UsageError:
    """A signature that nobody looked at must not be believed to be there."""
    asked = "require_signature" if options.trust.require_signature else "require_identity"
    if not options.source:
        return UsageError(f"`{asked}` is for stores", hint="name one with `source`; a folder has no signature")
    return UsageError(
        f"`{asked}` needs a store that can be looked into, and `source={options.source}` is not",
        hint="leave out `check_source=False`" if not options.check_source else "serve check and serve pull require one",
    )


def _note_signed(signed_by: str | None) -> tuple[str, ...]:
    return (f"the source is signed by {signed_by}",) if signed_by else ()


def _note_plain(values: Values) -> tuple[str, ...]:
    """What a bucket that nobody looked into is taken for."""
    if values["source"] not in ("s3", "gcs", "azure"):
        return ()
    uri = values["uri"]
    return (
        f"{uri} was not looked into: the models must be in folders right there; if serve push sent them, name their"
        f" snapshot: `source={uri}@ID`",
    )


def _name_unseen(values: Values, local: Snapshot, options: ChartOptions) -> CheckedSource:
    """The repository's own snapshot, in a store that is not looked into."""
    if not local.id.startswith(values.get("revision", "")):
        raise VerificationError(
            f"`source={options.source}` names another snapshot than that of this repository, which is {local.id}",
            hint="write the chart from the repository that was pushed, as serve pull gets it, or name this one's",
        )
    note = f"`source` was not looked into: it must hold snapshot {local.id}, which serve push makes of this repository"
    return CheckedSource(values | {"layout": "snapshots", "revision": local.id}, (note,))


def _look(store: Store, values: Values, wanted: _Wanted) -> CheckedSource:
    if wanted.address.snapshot is None and find_layout(store) is None:
        return _compare_sizes(store, values, wanted)
    held, signed_by = find_trusted(store, wanted.address.snapshot, wanted.trust)
    require_whole(store, held)
    signed = _note_signed(signed_by)
    there = {file.path: file.sha256 for file in held.snapshot.files}
    if not held.prefix:
        hint = f"{_push_hint(wanted)} --fixed"
        notes = _compare(wanted, there, str(wanted.address.root), hint, exact=False)
        return CheckedSource(values | {"revision": wanted.snapshot.id}, (*signed, *notes))
    said = f"snapshot {held.snapshot.id} of {wanted.address.root}"
    notes = _compare(wanted, there, said, _naming_hint(store, wanted))
    return CheckedSource(values | {"layout": "snapshots", "revision": held.snapshot.id}, (*signed, *notes))


def _look_into_registry(values: Values, wanted: _Wanted) -> CheckedSource:
    from serve_deploy.stores.oci import ForeignImageError, read_image, read_signatures

    try:
        image = read_image(wanted.address)
    except ForeignImageError as error:
        hint = f"where models lie in it, say so: `source={wanted.address}#models`; or push some to another tag"
        raise ForeignImageError(error.message, hint=hint) from error
    if image is None:
        raise EmptyStoreError(f"there is no image {wanted.address}", hint=_push_hint(wanted))
    signed_by = verify_any(image.snapshot, read_signatures(image), wanted.trust) if wanted.trust else None
    there = {file.path: file.sha256 for file in image.snapshot.files}
    notes = (*_note_signed(signed_by), *_compare(wanted, there, str(wanted.address), _push_hint(wanted)))
    # It holds models alone: no `cp` that an init container could run.
    named = {"reference": image.pinned, "method": "volume"}
    needs = "an image of models is mounted as a volume: from Kubernetes 1.35, or from 1.31 with ImageVolume switched on"
    return CheckedSource(values | {"oci": named, "revision": image.snapshot.id}, (*notes, needs))


def _compare_sizes(store: Store, values: Values, wanted: _Wanted) -> CheckedSource:
    """An address that serve push has not written to: the models may have been copied there by hand."""
    there = {path: str(file.size_bytes) for path, file in store.list_files("").items()}
    if not there:
        raise EmptyStoreError(f"{wanted.address} has no models yet", hint=_push_hint(wanted))
    if wanted.trust:
        raise SignatureError(
            f"{wanted.address} was not filled by serve push, and is not signed", hint=_push_hint(wanted)
        )
    sizes = {file.path: str(file.size_bytes) for file in wanted.snapshot.files if not file.path.endswith(_NOT_READ)}
    problems = _list_problems(sizes, there)
    _require_none(problems, wanted, str(wanted.address), _push_hint(wanted))
    note = f"{wanted.address} was not filled by serve push: its files were compared by size alone"
    notes = (note, *_note_others(wanted, there, str(wanted.address)))
    return CheckedSource(values | {"revision": wanted.snapshot.id}, notes)


def _compare(wanted: _Wanted, there: Mapping[str, str], said: str, hint: str, *, exact: bool = True) -> tuple[str, ...]:
    """Notes on models that only the source has; VerificationError where the repository's are not there as they are.

    `exact`: nor may their folders have more in them, as older versions in a fixed layout.
    """
    own = {file.path: file.sha256 for file in wanted.snapshot.files}
    more = [path for path in there if path.partition("/")[0] in wanted.snapshot.models and path not in own]
    problems = [*_list_problems(own, there), *(f"{path} is not in the repository" for path in more if exact)]
    _require_none(problems, wanted, said, hint)
    return _note_others(wanted, there, said)


def _list_problems(own: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    missing = [f"{path} is missing" for path in own if path not in there]
    return missing + [f"{path} differs" for path in own if there.get(path, own[path]) != own[path]]


def _require_none(problems: Sequence[str], wanted: _Wanted, said: str, hint: str) -> None:
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise VerificationError(
            f"{said} is not what {wanted.repository} holds: {', '.join(problems[:_SHOWN])}{more}",
            hint=f"{hint}; {_UNCHECKED}",
        )


def _note_others(wanted: _Wanted, there: Mapping[str, str], said: str) -> tuple[str, ...]:
    others = sorted({path.partition("/")[0] for path in there if "/" in path} - set(wanted.snapshot.models))
    return (f"{said} also has {', '.join(others)}, which this chart does not load",) if others else ()


def _push_hint(wanted: _Wanted) -> str:
    return f"push them: serve push {wanted.repository} {wanted.address.root}"


def _naming_hint(store: Store, wanted: _Wanted) -> str:
    """Where the store has the repository's snapshot, and another one counts, it only has to be named."""
    root, identity = wanted.address.root, wanted.snapshot.id
    if read_snapshot(store, identity) is None:
        return _push_hint(wanted)
    return (
        f"the store has them as another snapshot: name it with `source={root}@{identity}`, or make it the current one:"
        f" serve snapshots {root} --use {identity}"
    )
