"""What a user may decide about a pipeline, beside its file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from serve_deploy.errors import UsageError
from serve_deploy.option import Made, Option
from serve_deploy.releases import DEFAULT_RELEASE
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.options import SigningOptions
from serve_deploy.stores.repository_option import check_signing, read_repository, require_folder
from serve_deploy.triton.options import RuntimeName

_PIPELINE, _VERIFICATION = "Pipeline", "Verification"
_GRAPH_SUFFIXES = (".mmd", ".svg")


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """Which file becomes an ensemble, where, and how it is verified; `graphs` are drawn before anything is written."""

    file: Annotated[Path, Option("The pipeline: its steps, and where it is not clear, how they join.", metavar="FILE")]
    repository: Annotated[
        Path | StoreAddress,
        Option(
            "The model repository to write into, and whose models the steps name, or a store's address; by default "
            "models.",
            metavar="DIR",
            group=_PIPELINE,
            read=read_repository,
        ),
    ] = Path("models")
    # The store of which `repository` is a copy.
    pulled_from: StoreAddress | None = None
    name: Annotated[
        str | None, Option("The ensemble's name; by default the one in the file.", metavar="NAME", group=_PIPELINE)
    ] = None
    samples: Annotated[
        Path | None,
        Option(
            "Real requests: .npz, KServe JSON, or a folder of .npy or of pictures; by default its first models' own.",
            group=_PIPELINE,
        ),
    ] = None
    graphs: Annotated[
        tuple[Path, ...],
        Option(
            "Draw the pipeline as Mermaid text or as an SVG picture; repeatable.",
            metavar="FILE.mmd|FILE.svg",
            group=_PIPELINE,
        ),
    ] = ()
    release: Annotated[
        str | None,
        Option(
            f"Triton container release to package for; by default {DEFAULT_RELEASE}.", metavar="RELEASE",
            group=_PIPELINE,
        ),
    ] = None  # fmt: skip
    verify: Annotated[bool, Option("Do not serve the result with a real Triton.", group=_VERIFICATION)] = True
    runtime: Annotated[
        RuntimeName | None,
        Option("The Triton to verify with; by default the first that works here.", group=_VERIFICATION),
    ] = None
    signing: Annotated[SigningOptions, Made(SigningOptions)] = field(default_factory=SigningOptions)
    force: Annotated[bool, Option("Replace the ensemble and the members that it brings.")] = False
    dry_run: Annotated[bool, Option("Print config.pbtxt and write nothing.")] = False

    @property
    def folder(self) -> Path:
        """The repository on this machine."""
        return require_folder(self.repository)

    def describe_place(self, model: str) -> str:
        """Where a model of the repository is, in words that hold on other machines too if it is in a store."""
        return f"{self.pulled_from}/{model}" if self.pulled_from else str(self.folder / model)

    def __post_init__(self) -> None:
        check_signing(self.repository, self.signing)
        for graph in self.graphs:
            if graph.suffix not in _GRAPH_SUFFIXES:
                raise UsageError(
                    f"`graphs={graph}`: its ending says no format", hint="end it with .mmd (Mermaid) or .svg"
                )
