"""Find a language model's configuration: in its folder, in a file that was named, or on the Hugging Face Hub."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

from serve_deploy.errors import EndpointError, InvalidModelError, UsageError
from serve_deploy.extras import install_command
from serve_deploy.language_models.checkpoint import CONFIG_FILE, Checkpoint, parse_config_json, read_checkpoint
from serve_deploy.progress import Progress

_OPTIONAL = (
    "generation_config.json", "tokenizer_config.json", "hf_quant_config.json", "model.safetensors.index.json"
)  # fmt: skip
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def find_checkpoint(source: Path, config_file: Path | None, progress: Progress) -> Checkpoint:
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
    return _ask_hub(str(source))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error


def _ask_hub(name: str) -> Checkpoint:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import (
            EntryNotFoundError,
            GatedRepoError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError:
        raise UsageError(
            f"{name} is not a folder here, and huggingface_hub, which would ask the hub, is not installed",
            hint=f"install it with `{install_command('hub')}`, or give its config.json with `checkpoint_config`",
        ) from None
    give = "give its config.json with `checkpoint_config`"
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    disable_progress_bars()
    try:
        config = Path(hf_hub_download(name, CONFIG_FILE))
        for file in _OPTIONAL:
            try:
                hf_hub_download(name, file)
            except EntryNotFoundError:
                continue
    except GatedRepoError as error:
        hint = f"accept its terms there and set HF_TOKEN, or {give}"
        raise EndpointError(f"the hub keeps {name} for those who accepted its terms", hint=hint) from error
    except RepositoryNotFoundError as error:
        raise EndpointError(
            f"the hub has no model {name}, or it is private", hint=f"check the name, set HF_TOKEN, or {give}"
        ) from error
    except LocalEntryNotFoundError as error:
        raise EndpointError(f"the hub cannot be reached to ask for {name}", hint=give) from error
    except EntryNotFoundError as error:
        raise InvalidModelError(f"{name} has no {CONFIG_FILE} on the hub", hint=give) from error
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise EndpointError(f"the hub did not answer for {name}: {reason}", hint=give) from error
    return replace(read_checkpoint(config.parent), name=name)
