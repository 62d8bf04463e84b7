"""Fetch a model of the Hugging Face Hub: its ONNX file, or the file or folder that is named, at one commit.

Files lie in the cache of the hub's own client, and are compared with the sizes and digests that the hub lists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import TYPE_CHECKING

from serve_deploy.errors import EndpointError, InvalidModelError, UsageError
from serve_deploy.model_sources.addresses import HubAddress
from serve_deploy.model_sources.companions import list_companions
from serve_deploy.model_sources.fetched import Fetched, called, write_size
from serve_deploy.model_sources.hub_client import asking_hub, require_hub
from serve_deploy.origin import Origin
from serve_deploy.progress import Progress

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoSibling

_SAVED_MODEL = "saved_model.pb"
_MOST_LISTED = 20
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class _Hub:
    client: HfApi
    cache: Path | None = None


@dataclass(frozen=True)
class _Listing:
    """What a model has at one commit."""

    address: HubAddress
    files: Mapping[str, RepoSibling]

    @property
    def commit(self) -> str:
        return str(self.address.revision)


@dataclass(frozen=True)
class _Choice:
    """The file or folder that is the model, the file in it that says so, and what else belongs to a folder."""

    path: str
    main: str
    others: tuple[str, ...] = ()
    is_folder: bool = False


def fetch_from_hub(
    address: HubAddress, progress: Progress, *, client: HfApi | None = None, cache: Path | None = None
) -> Fetched:
    """The model's files at the commit that its revision is now, in the client's cache.

    UsageError where it has several ONNX files and none is named, InvalidModelError where it has none or not the one
    that is named, EndpointError where the hub does not answer or refuses.
    """
    require_hub(str(address))
    progress(f"asking the hub for {address.repository}")
    from huggingface_hub import HfApi

    hub = _Hub(client or HfApi(), cache)
    listing = _list_files(address, hub)
    choice = _choose(address, listing)
    main = _download(hub, listing, choice.main, progress)
    with called(address, main):
        companions = () if choice.is_folder else list_companions(main)
    beside = (normpath(str(PurePosixPath(choice.main).parent / name)) for name in companions)
    for path in (*choice.others, *(name for name in beside if name in listing.files)):
        _download(hub, listing, path, progress)
    pinned = replace(listing.address, path=choice.path)
    origin = Origin(asked=str(address), pinned=str(pinned), version=listing.commit)
    return Fetched(main.parent if choice.is_folder else main, origin)


def pin_commit(address: HubAddress) -> str:
    """The commit that a model's revision is now."""
    require_hub(str(address))
    from huggingface_hub import HfApi

    return _list_files(address, _Hub(HfApi())).commit


def _list_files(address: HubAddress, hub: _Hub) -> _Listing:
    with asking_hub(str(address)):
        info = hub.client.model_info(
            address.repository, revision=address.revision, files_metadata=True, timeout=_TIMEOUT_SECONDS
        )
    if not info.sha:
        raise EndpointError(f"the hub does not say which commit {address} is", hint="name the commit as its revision")
    files = {file.rfilename: file for file in info.siblings or () if _is_inside(file.rfilename)}
    return _Listing(replace(address, revision=info.sha), files)


def _is_inside(path: str) -> bool:
    """Whether a name that the hub lists stays in the model's folder."""
    return not path.startswith("/") and ".." not in PurePosixPath(path).parts


def _choose(address: HubAddress, listing: _Listing) -> _Choice:
    path, files = address.path, listing.files
    if path.endswith(".py"):
        raise UsageError(f"{address} is code, which serve runs from this disk only", hint="download it, and read it")
    if path in files:
        return _Choice(path, path)
    inside = [name for name in files if not path or name.startswith(f"{path}/")]
    if path and not inside:
        raise InvalidModelError(f"{address} is not there", hint=f"the model has {_enumerate(files)}")
    main = f"{path}/{_SAVED_MODEL}" if path else _SAVED_MODEL
    if main in files:
        folder = main.removesuffix(_SAVED_MODEL)
        parts = tuple(name for name in inside if name.startswith((f"{folder}variables/", f"{folder}assets/")))
        return _Choice(path, main, parts, is_folder=True)
    found = [name for name in inside if name.lower().endswith(".onnx")]
    if len(found) == 1:
        return _Choice(found[0], found[0])
    if found:
        address = replace(address, path="")
        listed = ", ".join(f"{replace(address, path=each)} ({_size(files[each])})" for each in found[:_MOST_LISTED])
        more = f" and {len(found) - _MOST_LISTED} more" if len(found) > _MOST_LISTED else ""
        raise UsageError(f"{address} has {len(found)} ONNX files", hint=f"name one: {listed}{more}")
    raise InvalidModelError(
        f"{address} has no ONNX file",
        hint=f"name another of its files, export it with `optimum-cli export onnx --model {address.repository} DIR`, or"
        " serve a language model with `backend=vllm`",
    )


def _enumerate(files: Mapping[str, object]) -> str:
    named = sorted(files, key=lambda name: (not name.endswith(".onnx"), name))
    listed = ", ".join(named[:_MOST_LISTED])
    return f"{listed} and {len(named) - _MOST_LISTED} more" if len(named) > _MOST_LISTED else listed or "no files"


def _size(file: RepoSibling) -> str:
    return "size unknown" if file.size is None else write_size(file.size)


def _download(hub: _Hub, listing: _Listing, path: str, progress: Progress) -> Path:
    file, name = listing.files[path], str(replace(listing.address, path=path))
    progress(f"downloading {path} of {listing.address.repository} ({_size(file)})")
    with asking_hub(name):
        repository = listing.address.repository
        local = Path(hub.client.hf_hub_download(repository, path, revision=listing.commit, cache_dir=hub.cache))
    problem = _compare(local, file)
    if problem:
        raise EndpointError(f"{name} arrived damaged: {problem}", hint=f"delete {local.resolve()}, and try again")
    return local


def _compare(local: Path, file: RepoSibling) -> str:
    """How a file differs from what the hub lists of it; "" where it does not, as far as the hub says."""
    size = local.stat().st_size
    if file.size is not None and size != file.size:
        return f"it has {size} bytes, and the hub lists {file.size}"
    if file.lfs is not None:
        with local.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return "" if digest == file.lfs.sha256 else "its sha256 is not the one that the hub lists"
    if file.blob_id is None:
        return ""
    # git's name of a blob: small files, which the hub keeps in git itself.
    content = local.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return "" if blob == file.blob_id else "its git digest is not the one that the hub lists"
