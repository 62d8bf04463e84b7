"""The manifest: what was proven and measured about a packaged model, kept as manifest.json in its folder.

`package` writes it; `check`, `run`, `infer`, `loadtest` and `chart` read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from serve_deploy.errors import InvalidModelError
from serve_deploy.origin import Origin
from serve_deploy.tensors.types import TensorSpec

MANIFEST_NAME = "manifest.json"
SAMPLES_NAME = "samples.npz"
FORMAT_VERSION = 1
# What was set for single profiles, among the settings.
PROFILE_SETTINGS = "profile_settings"


class _Document(BaseModel):
    # A newer serve may add keys; an older one must still read what it knows.
    model_config = ConfigDict(frozen=True, extra="ignore")


class FileDigest(_Document):
    """A file in the model's folder, by its path relative to that folder."""

    path: str
    sha256: str
    size_bytes: int


class GraphCause(_Document):
    """A node that mixes the rows of a batch, or that is not understood, and the outputs that it reaches."""

    node: str
    operator: str
    effect: Literal["mixes", "unknown"]
    reason: str
    outputs: tuple[str, ...] = ()
    next_step: str | None = None


class GraphFinding(_Document):
    """What the model's graph says of the batch axis; None in a proof whose graph was not looked at."""

    verdict: Literal["independent", "mixes", "unknown"]
    causes: tuple[GraphCause, ...] = ()


class BatchingProof(_Document):
    """Whether axis 0 is a batch axis, and how that is known."""

    verdict: Literal["batchable", "not_batchable", "undecided"]
    max_batch_size: int
    evidence: str
    batch_sizes: tuple[int, ...] = ()
    largest_difference: float | None = None
    attempts: tuple[str, ...] = ()
    # Ranges up to max_batch_size that were not run, first and last included.
    batch_sizes_not_run: tuple[tuple[int, int], ...] = ()
    # What had the same values in every row that was run: nothing is known of what mixes it.
    constant_inputs: tuple[str, ...] = ()
    constant_outputs: tuple[str, ...] = ()
    graph: GraphFinding | None = None
    # What a user can do who wants batches; names options as fields, in backticks.
    next_step: str | None = None

    @property
    def sizes_run(self) -> str:
        """Such as "1 to 8, 16"."""
        sizes = sorted(self.batch_sizes)
        starts = [size for size in sizes if size - 1 not in sizes]
        ends = [size for size in sizes if size + 1 not in sizes]
        return _in_words(zip(starts, ends, strict=True))

    @property
    def sizes_not_run(self) -> str:
        """Such as "17 to 64"; empty where every size was run."""
        return _in_words(self.batch_sizes_not_run)


def _in_words(ranges: Iterable[tuple[int, int]]) -> str:
    return ", ".join(
        " to ".join(map(str, (first, last))) if last > first + 1 else ", ".join(map(str, sorted({first, last})))
        for first, last in ranges
    )


class TensorParity(_Document):
    """The largest difference between served and own outputs of one tensor."""

    name: str
    largest_absolute_difference: float
    largest_relative_difference: float


class Verification(_Document):
    """What a real Triton served, against ONNX Runtime's own outputs."""

    runtime: str
    triton_version: str
    requests: int
    largest_batch_executed: int
    tensors: tuple[TensorParity, ...]
    load_seconds: float
    memory_bytes: int
    # Not compared by value, because the model itself is random there.
    random_outputs: tuple[str, ...] = ()
    distinct_samples: int = 0
    # Of a model whose state Triton keeps: how many sequences the requests were of.
    sequences: int = 0
    # What the configuration has and this machine had not, such as GPUs and TensorRT.
    left_out: tuple[str, ...] = ()
    # The ONNX Runtime that ran the model, where that is known: it may be another than the release's.
    onnxruntime_version: str | None = None
    # What the answers were compared with; None where the model was loaded and asked, and nothing else was.
    reference: str | None = "ONNX Runtime"


class StateFinding(_Document):
    """A state: its tensors in the served file and in the model, its shape for one sequence (-1 grows), and how it was
    found: by the graph, runs, types, names, or as the user gave it."""

    input_name: str
    output_name: str
    model_input: str
    model_output: str
    data_type: str
    shape: tuple[int, ...]
    evidence: Literal["graph", "runs", "weighed", "types", "left", "names", "given"]
    # No output was seen to depend on it.
    is_idle: bool = False


class StateProof(_Document):
    """The state that Triton keeps between the requests of a sequence, and sequences that were compared.

    They were run in ONNX Runtime as Triton runs them, and compared with the model run with its state in hand.
    """

    states: tuple[StateFinding, ...]
    evidence: str
    sequences: int
    steps: int
    largest_batch: int
    largest_difference: float
    bytes_per_sequence: int


class ReasonedValue(_Document):
    """A fact or an argument, with why it is what it is."""

    name: str
    value: Any
    reason: str


class GpuFit(_Document):
    """What one GPU profile would hold of the model, in bytes of the fullest GPU; `reason` says why it does not fit."""

    gpu: str
    fits: bool
    gpus: int = 0
    nodes: int = 0
    max_model_len: int = 0
    cache_tokens: int = 0
    weights_bytes: int = 0
    engine_bytes: int = 0
    cache_bytes: int = 0
    reason: str = ""


class LanguageModel(_Document):
    """What a language model takes, derived from its checkpoint and run by nothing; bytes of GPUs are the fullest one's.

    `load_seconds` and `host_memory_bytes` are assumed, for one node.
    """

    backend: Literal["vllm", "tensorrtllm"]
    weights: str
    architecture: str
    parameters: int | None = None
    weights_bytes: int
    weights_are_measured: bool
    cache_bytes_per_token: int
    context_tokens: int
    gpu: str
    tensor_parallel: int
    pipeline_parallel: int
    nodes: int
    max_model_len: int
    cache_tokens: int
    shared_memory_bytes: int
    host_memory_bytes: int
    load_seconds: float
    facts: tuple[ReasonedValue, ...] = ()
    arguments: tuple[ReasonedValue, ...] = ()
    fits: tuple[GpuFit, ...] = ()
    not_verified: str = ""

    @property
    def gpus_per_node(self) -> int:
        """GPUs that each pod of the model asks for."""
        return self.tensor_parallel * self.pipeline_parallel // self.nodes


class FrameworkModel(_Document):
    """A model of another framework than ONNX: what its file tells, and what of its tensors was `given` by the user.

    `version` is that of the framework that wrote the file; None where the file does not tell. `tensors_from` is where
    all that was not given comes from.
    """

    framework: str
    backend: str
    platform: str = ""
    version: str | None = None
    facts: tuple[ReasonedValue, ...] = ()
    tensors_from: str = "the file"
    given: tuple[str, ...] = ()
    # Why no Triton loaded it; empty where one did.
    not_verified: str = ""


class Tuned(_Document):
    """What `tune` changed in the configuration, and why that is better: both were measured on fresh servers.

    Values are by the field's path in config.pbtxt; `gain` is the score's: 0.1 is 10 % better. `called` is what the
    requests went to: the model, an ensemble that runs it, or several models, separated by commas.
    """

    date: str
    called: str = ""
    objective: str
    gates: tuple[str, ...] = ()
    server: str
    before: dict[str, Any]
    after: dict[str, Any]
    load: str
    gain: float
    throughput_before: float
    throughput: float
    p99_us_before: float
    p99_us: float
    tool_version: str


class Export(_Document):
    """Where an ONNX file came from, and how its answers compare with the model's own, in the framework that made it."""

    source: str
    framework: str
    framework_version: str
    exporter: str
    batch_sizes: tuple[int, ...] = ()
    tensors: tuple[TensorParity, ...] = ()
    random_outputs: tuple[str, ...] = ()


class PipelineStep(_Document):
    """A step of a pipeline; `is_own` where the pipeline brought the model, and replaces it when it is written again.

    `model_sha256` is the digest of what the model's manifest lists, empty for a model without one.
    """

    name: str
    model: str
    made_from: str
    is_own: bool
    model_sha256: str = ""


class Pipeline(_Document):
    """How an ensemble was made: its steps, and its wires from `step.output` or an input to `step.input`."""

    steps: tuple[PipelineStep, ...]
    wires: tuple[tuple[str, str], ...]


class ProfileConfig(_Document):
    """One configuration for a GPU, or for the CPU, in numbers; `instance_bytes` is estimated, None where nothing is."""

    profile: str
    path: str
    instances: int
    max_batch_size: int
    accelerator: str = ""
    precision: str = ""
    instance_bytes: int | None = None
    gpu_bytes: int = 0
    # None until `tune` was run with it.
    tuned: Tuned | None = None

    def tuned_to(self, evidence: Tuned, settings: Mapping[str, Any]) -> ProfileConfig:
        """With what `tune` wrote, and its evidence."""
        counts = {name: settings[name] for name in ("instances", "max_batch_size") if name in settings}
        return self.model_copy(update={**counts, "tuned": evidence})


class Manifest(_Document):
    """Everything that other commands need to know of a packaged model."""

    format_version: int = FORMAT_VERSION
    tool_version: str
    name: str
    version: int
    triton_release: str
    source_name: str
    source_sha256: str
    files: tuple[FileDigest, ...] = ()
    # 0 and none of a model that is no ONNX file.
    onnx_ir_version: int = 0
    onnx_opsets: dict[str, int] = {}
    # Whether the release's ONNX Runtime runs every operator on a CPU; None where that is not known.
    runs_every_operator: bool | None = None
    # As a client sees them: with the batch axis where there is one.
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batching: BatchingProof
    labels: dict[str, tuple[str, ...]] = {}
    # What the user set, by the names of the options; the next version keeps it.
    settings: dict[str, Any] = {}
    fixes: tuple[str, ...] = ()
    samples: int = 0
    sample_bytes: int = 0
    verification: Verification | None = None
    tuned: Tuned | None = None
    # Of a model that a registry or a hub named.
    origin: Origin | None = None
    # Of a model that serve exported itself, from code.
    export: Export | None = None
    # Of a model whose state Triton keeps between requests.
    state: StateProof | None = None
    # Beside config.pbtxt, which serves everywhere; none of these ran where it is for.
    profiles: tuple[ProfileConfig, ...] = ()
    # Of a model that vLLM or TensorRT-LLM serves; its tensors are text, and ONNX has no part in it.
    language_model: LanguageModel | None = None
    # Of a model that another backend than ONNX Runtime's serves; ONNX has no part in it.
    framework: FrameworkModel | None = None
    # Of an ensemble that `pipeline` wrote; ONNX has no part in it but through its members.
    pipeline: Pipeline | None = None
    # Of a Python function: the distributions that Triton's Python needs for it, as pip takes them.
    requirements: tuple[str, ...] = ()
    # The model's other versions that serve packaged; configuration, labels and samples are those of this one.
    other_versions: tuple[Manifest, ...] = ()

    @property
    def files_sha256(self) -> str:
        """One digest for all files of the newest version, by their paths and digests; samples serve nobody."""
        files = sorted((file.path, file.sha256) for file in self.files if file.path != SAMPLES_NAME)
        return hashlib.sha256("".join(f"{path} {digest}\n" for path, digest in files).encode()).hexdigest()

    @property
    def needs(self) -> tuple[str, ...]:
        """What its Python functions need of the image that serves them, as notes for the user."""
        wanted = dict.fromkeys(name for each in (self, *self.other_versions) for name in each.requirements)
        if not wanted:
            return ()
        files = "requirements.txt of its version folder lists"
        return (f"Triton's image has Python and numpy only: install {', '.join(wanted)} in it, as {files}",)


def read_manifest(model_folder: Path) -> Manifest | None:
    """Read `manifest.json`; None where there is none, InvalidModelError where it cannot be read."""
    path = model_folder / MANIFEST_NAME
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"is not a manifest of serve: {' '.join(map(str, (*first['loc'], first['msg'])))}"
    raise InvalidModelError(f"{path} {reason}", hint="package the model again, or delete the file")
