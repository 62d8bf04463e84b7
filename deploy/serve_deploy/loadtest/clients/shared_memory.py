"""Inputs in system shared memory, so that requests carry only where they are."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.model import Model
from serve_deploy.endpoint.payload import Regions, Sample
from serve_deploy.errors import ServeError, UsageError
from serve_deploy.tensors.wire import encode_tensor

_FOLDER = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory is under Linux


@contextlib.contextmanager
def shared_inputs(control: ControlPlane, model: Model, samples: Sequence[Sample]) -> Iterator[list[Regions | None]]:
    """Put all inputs into one region and register it; gone again at the end, from the server and from the machine."""
    if not _FOLDER.is_dir():
        raise UsageError("`shared_memory=system` needs Linux, and the server on this machine")
    name = f"serve-loadtest-{os.getpid()}-{secrets.token_hex(4)}"
    path = _FOLDER / name
    content, regions = _lay_out(model, samples, name)
    try:
        path.write_bytes(content)
        control.register_shared_memory(name, f"/{name}", len(content))
        yield regions
    except OSError as error:
        raise UsageError(f"cannot allocate {len(content):,} bytes of shared memory: {error.strerror}") from error
    finally:
        # A server that died in between has forgotten the region anyway.
        with contextlib.suppress(ServeError):
            control.unregister_shared_memory(name)
        path.unlink(missing_ok=True)


def _lay_out(model: Model, samples: Sequence[Sample], name: str) -> tuple[bytes, list[Regions | None]]:
    content = bytearray()
    regions: list[Regions | None] = []
    for sample in samples:
        places: Regions = {}
        for tensor, array in sample.inputs.items():
            blob = encode_tensor(model.input_named(tensor).data_type, array)
            places[tensor] = {
                "shared_memory_region": name,
                "shared_memory_byte_size": len(blob),
                "shared_memory_offset": len(content),
            }
            content += blob + bytes(-len(blob) % 64)
        regions.append(places)
    return bytes(content), regions
