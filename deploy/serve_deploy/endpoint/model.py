"""What the generator needs to know of a model, read from Triton's metadata and configuration. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from serve_deploy.errors import UsageError
from serve_deploy.model_config.digest import config_sha256, instance_count

Document = dict[str, Any]


@dataclass(frozen=True)
class Tensor:
    """One input or output as a client sees it; `shape` has the batch axis, -1 where a dim is free."""

    name: str
    data_type: str
    shape: tuple[int, ...]
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.data_type} [{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Model:
    """One model as it is served."""

    name: str
    version: str
    platform: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int
    is_decoupled: bool
    is_sequence: bool
    members: tuple[str, ...]
    config_sha256: str
    instances: int | None

    @property
    def input_list(self) -> str:
        """The inputs in words, for hints."""
        return f"{self.name} takes " + "; ".join(map(str, self.inputs))

    def input_named(self, name: str) -> Tensor:
        """The input of that name; UsageError lists the model's inputs where there is none."""
        for tensor in self.inputs:
            if tensor.name == name:
                return tensor
        raise UsageError(f"model {self.name} has no input {name!r}", hint=self.input_list)


def model_path(model: str, version: str) -> str:
    """`/v2/models/M[/versions/V]`, quoted."""
    return f"/v2/models/{quote(model, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "")


def read_model(metadata: Document, config: Document) -> Model:
    """Read both documents; the keys are those of the HTTP protocol."""
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
    )


def _tensor(item: Document, optional: bool) -> Tensor:
    shape = tuple(int(dim) for dim in item.get("shape", []))
    return Tensor(item["name"], item["datatype"], shape, optional)
