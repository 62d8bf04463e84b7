"""What a user may decide about packaging a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from serve_deploy.errors import UsageError
from serve_deploy.model_config.options import ConfigOptions
from serve_deploy.option import Made, Option
from serve_deploy.origin import Origin
from serve_deploy.packaging.options.frameworks import FrameworkOptions
from serve_deploy.packaging.options.language_models import LanguageModelOptions
from serve_deploy.packaging.options.profile_names import read_profiles
from serve_deploy.packaging.options.stateful import StatefulOptions
from serve_deploy.releases import DEFAULT_RELEASE
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.options import SigningOptions
from serve_deploy.stores.repository_option import check_signing, read_repository, require_folder
from serve_deploy.triton.options import RuntimeName

# Of `config`, what no other backend has.
ONNX_RUNTIME_ONLY = ("optimization", "threads", "parallel_threads")
_MODEL, _VERIFICATION = "Model", "Verification"


def _read_version(text: str) -> int | None:
    """`3` is 3 and `next` is None."""
    if text == "next":
        return None
    if not text.isascii() or not text.isdigit() or (len(text) > 1 and text[0] == "0") or int(text) >= 2**63:
        raise UsageError(
            f"`version={text}` is not a Triton model version", hint="give a number without leading 0, or next"
        )
    return int(text)


@dataclass(frozen=True, kw_only=True)
class PackageOptions:
    """`version` None is the one after the newest; `max_batch_size` None follows from the proof.

    What an earlier version was given stays for the next unless it is given anew, or `keep_settings` is off.

    `config` is what goes into config.pbtxt as it is; its name, labels and warm-up follow from the model.
    """

    repository: Annotated[
        Path | StoreAddress,
        Option(
            "The model repository to write into, or a store's address to push to; by default models.",
            metavar="DIR",
            group=_MODEL,
            read=read_repository,
        ),
    ] = Path("models")
    backend: Annotated[
        Literal["onnxruntime", "vllm", "tensorrtllm"],
        Option("What serves the model; a language model is a checkpoint's folder or hub ID.", group=_MODEL),
    ] = "onnxruntime"
    name: Annotated[str | None, Option("The model's name; by default the file's.", metavar="NAME", group=_MODEL)] = None
    version: Annotated[
        int | None,
        Option("The version to write; by default 1.", metavar="N|next", group=_MODEL, read=_read_version),
    ] = 1
    samples: Annotated[
        Path | None,
        Option(
            "Real inputs: .npz, a folder of .npy, KServe JSON, or of a string input any files; by default made up.",
            group=_MODEL,
        ),
    ] = None
    max_batch_size: Annotated[
        int | None,
        Option("The largest batch; by default 8 if batching is proven, else 0.", minimum=0, group=_MODEL),
    ] = None
    fix: Annotated[bool, Option("Rewrite a copy if the model cannot be served as it is.", group=_MODEL)] = False
    labels: Annotated[
        tuple[str, ...],
        Option(
            "Class names of an output, one per line; by default those in the model's metadata; repeatable.",
            metavar="[OUTPUT=]FILE",
            group=_MODEL,
        ),
    ] = ()
    release: Annotated[
        str | None,
        Option(
            f"Triton container release to package for; by default {DEFAULT_RELEASE}.", metavar="RELEASE", group=_MODEL
        ),
    ] = None
    verify: Annotated[bool, Option("Do not serve the result with a real Triton.", group=_VERIFICATION)] = True
    runtime: Annotated[
        RuntimeName | None,
        Option("The Triton to verify with; by default the first that works here.", group=_VERIFICATION),
    ] = None
    config: Annotated[ConfigOptions, Made(ConfigOptions)] = field(default_factory=ConfigOptions)
    profiles: Annotated[tuple[str, ...] | None, Made(read_profiles)] = None
    # What `tune` found for each, by the names of the options; kept from the version before.
    profile_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    engine_cache: Annotated[
        Path,
        Option(
            "Where TensorRT keeps engines on the server, a folder that exists there.", metavar="DIR", group="Devices"
        ),
    ] = Path("/tmp")  # noqa: S108 - the one folder that is writable in every container; the chart mounts another
    language_model: Annotated[LanguageModelOptions, Made(LanguageModelOptions)] = field(
        default_factory=LanguageModelOptions
    )
    framework: Annotated[FrameworkOptions, Made(FrameworkOptions)] = field(default_factory=FrameworkOptions)
    sequences: Annotated[StatefulOptions, Made(StatefulOptions)] = field(default_factory=StatefulOptions)
    warmup: Annotated[bool, Option("Do not run samples when the model loads.", group="Serving")] = True
    # Where the file was fetched from, as the manifest records it.
    origin: Origin | None = None
    keep_settings: Annotated[
        bool, Option("Start from the defaults, not from the settings of the versions that are there.", group=_MODEL)
    ] = True
    signing: Annotated[SigningOptions, Made(SigningOptions)] = field(default_factory=SigningOptions)
    force: Annotated[bool, Option("Overwrite what already exists.")] = False
    dry_run: Annotated[bool, Option("Print config.pbtxt and write nothing.")] = False

    def __post_init__(self) -> None:
        check_signing(self.repository, self.signing)

    @property
    def folder(self) -> Path:
        """The repository on this machine."""
        return require_folder(self.repository)

    @property
    def runs_model(self) -> bool:
        """Whether the model is run at all, to prove how it batches."""
        return self.verify or self.max_batch_size is None
