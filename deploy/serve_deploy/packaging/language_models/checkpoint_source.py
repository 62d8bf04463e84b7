"""Find a language model's configuration: in its folder, in a file that was named, or on the Hugging Face Hub."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.language_models.checkpoint import CONFIG_FILE, Checkpoint, parse_config_json, read_checkpoint
from serve_deploy.model_sources.hub_client import asking_hub, require_hub
from serve_deploy.progress import Progress

_OPTIONAL = (
    "generation_config.json", "tokenizer_config.json", "hf_quant_config.json", "model.safetensors.index.json"
)  # fmt: skip
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def find_checkpoint(
    source: Path, config_file: Path | None, progress: Progress, *, revision: str | None = None
) -> Checkpoint:
    """The checkpoint of a folder or hub ID; UsageError for neither, EndpointError where the hub does not answer."""
    if config_file is not None:
        content = _read(config_file)
        config = parse_config_json(content, config_file)
        if source.is_dir():
            return replace(read_checkpoint(source), config=config, config_bytes=content)
        return Checkpoint(name=str(source), config=config, config_bytes=content)
    if source.is_dir():
        return read_checkpoint(source)
    if source.exists() or not _HUB_ID.fullmatch(str(source)):
        raise UsageError(
            f"{source} is not a checkpoint's folder",
            hint="give the folder with config.json, or an ID such as meta-llama/Llama-3.1-8B",
        )
    progress(f"asking the hub for {source}")
    return _ask_hub(str(source), revision)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error


def _ask_hub(name: str, revision: str | None) -> Checkpoint:
    give = "give its config.json with `checkpoint_config`"
    require_hub(name, otherwise=give)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    with asking_hub(name, otherwise=give):
        try:
            config = Path(hf_hub_download(name, CONFIG_FILE, revision=revision))
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError as error:
            raise InvalidModelError(f"{name} has no {CONFIG_FILE} on the hub", hint=give) from error
        for file in _OPTIONAL:
            with suppress(EntryNotFoundError):
                hf_hub_download(name, file, revision=revision)
    return replace(read_checkpoint(config.parent), name=name)
