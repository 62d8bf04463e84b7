"""An inference request from a packaged model's own samples, for `helm test`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from serve_deploy.repository.model_folder import ModelFolder

if TYPE_CHECKING:
    import numpy as np

LONGEST_BODY = 4000
_WITHOUT_JSON = ("FP16", "BF16")
_SEQUENCE = 2**40  # of one request; no number that a client would begin with


def sample_request(model: ModelFolder) -> dict[str, str] | None:
    """The first sample as a KServe v2 request with what its reply must hold; None where JSON cannot, or too long."""
    if model.manifest is None or model.samples is None:
        return None
    from serve_deploy.samples.files import load_samples

    types = {tensor.name: tensor.data_type.value for tensor in model.manifest.inputs}
    samples = load_samples(model.samples)
    if not samples or any(types.get(name, "FP16") in _WITHOUT_JSON for name in samples[0]):
        return None
    inputs = [_tensor(name, types[name], array) for name, array in samples[0].items()]
    document: dict[str, Any] = {"inputs": inputs}
    if model.config.HasField("sequence_batching"):
        document["parameters"] = {"sequence_id": _SEQUENCE, "sequence_start": True, "sequence_end": True}
    body = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    if len(body) > LONGEST_BODY or not _is_text(body):
        return None
    return {"model": model.name, "body": body, "expect": f'"{model.manifest.outputs[0].name}"'}


def _is_text(body: str) -> bool:
    """Strings of raw bytes, such as a picture's, are read as surrogates, which neither JSON nor YAML can carry."""
    try:
        body.encode()
    except UnicodeEncodeError:
        return False
    return True


def _tensor(name: str, data_type: str, array: np.ndarray[Any, Any]) -> dict[str, Any]:
    values = [value.decode() if isinstance(value, bytes) else value for value in array.ravel().tolist()]
    return {"name": name, "datatype": data_type, "shape": list(array.shape), "data": values}
