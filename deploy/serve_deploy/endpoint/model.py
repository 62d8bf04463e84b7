"""A model as a client sees it, read from what Triton says of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from serve_deploy.errors import UsageError
from serve_deploy.tensors.types import DataType, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Document = dict[str, Any]
# What a path may hold, and also %: a model can be called a%20b.
_LEFT_AS_IT_IS = "%!$&'()*+,;=:@"


@dataclass(frozen=True)
class Model:
    """One model as it is served; shapes have the batch axis."""

    name: str
    version: str
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int
    is_decoupled: bool
    is_sequence: bool
    members: tuple[str, ...]
    config_sha256: str
    instances: int | None
    scheduling: Document = field(default_factory=dict, hash=False)

    @property
    def input_list(self) -> str:
        """The inputs, for hints."""
        return f"{self.name} takes " + "; ".join(map(str, self.inputs))

    def input_named(self, name: str) -> TensorSpec:
        """The input of that name; UsageError lists the model's inputs where there is none."""
        for tensor in self.inputs:
            if tensor.name == name:
                return tensor
        raise UsageError(f"model {self.name} has no input '{name}'", hint=self.input_list)


@dataclass(frozen=True)
class ModelState:
    """One line of Triton's repository index: state is READY, UNAVAILABLE, LOADING or UNLOADING."""

    name: str
    version: str
    state: str
    reason: str


def model_path(model: str, version: str) -> str:
    """`/v2/models/M[/versions/V]`, with the name as it is where a URL allows that: Triton does not decode it."""
    return f"/v2/models/{quote_model(model)}" + (f"/versions/{quote(version, safe='')}" if version else "")


def quote_model(model: str) -> str:
    """A model's name in a path; Triton finds no model whose name this changes."""
    return quote(model, safe=_LEFT_AS_IT_IS)


def read_model(metadata: Document, config: Document) -> Model:
    """Read both documents, with the keys of the HTTP protocol; ValueError for a tensor type that is not known."""
    # That package imports pydantic, which a client can do without until here.
    from serve_deploy.model_config.digest import config_sha256, instance_count
    from serve_deploy.model_config.scheduling import keep_scheduling

    steps = config.get("ensemble_scheduling", {}).get("step", [])
    optional = {item["name"] for item in config.get("input", []) if item.get("optional")}
    return Model(
        name=metadata["name"],
        version=str((metadata.get("versions") or [""])[-1]),
        platform=metadata.get("platform") or config.get("backend", ""),
        inputs=tuple(_tensor(item, item["name"] in optional) for item in metadata.get("inputs", [])),
        outputs=tuple(_tensor(item, False) for item in metadata.get("outputs", [])),
        max_batch_size=int(config.get("max_batch_size", 0)),
        is_decoupled=bool(config.get("model_transaction_policy", {}).get("decoupled")),
        is_sequence="sequence_batching" in config,
        members=tuple(dict.fromkeys(step["model_name"] for step in steps)),
        config_sha256=config_sha256(config),
        instances=instance_count(config),
        scheduling=keep_scheduling(config),
    )


def _tensor(item: Document, optional: bool) -> TensorSpec:
    shape = tuple(int(dim) for dim in item.get("shape", []))
    return TensorSpec(item["name"], DataType(item["datatype"]), shape, optional)


def read_state(entry: Document) -> ModelState:
    """Read an entry of the repository index; a model that is not loaded has no version."""
    reason = entry.get("reason", "" if entry.get("state") else "not loaded")
    return ModelState(
        name=entry["name"],
        version=entry.get("version", ""),
        state=entry.get("state", "UNAVAILABLE"),
        # Triton's reason, without where in the embedded backend's Python it was found.
        reason=reason.partition("\n\nAt:\n")[0].replace("TritonModelException: ", "").strip(),
    )


def with_served_ranks(tensors: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of these tensors in the rank that a client sees.

    Triton has no rank 0, and with batching none beside the batch axis: it serves such tensors as [1].
    """
    return {
        tensor.name: arrays[tensor.name].reshape(
            *arrays[tensor.name].shape, *(1,) * (len(tensor.shape) - arrays[tensor.name].ndim)
        )
        for tensor in tensors
        if tensor.name in arrays
    }
