"""How many bytes a weight and a cached number take: the checkpoint's dtype and quantisation, and what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.language_models.config_errors import wrong_kinds

Config = Mapping[str, Any]
Backend = Literal["vllm", "tensorrtllm"]
Dtype = Literal["bfloat16", "float16", "float32"]
CacheDtype = Literal["auto", "fp8"]
_SIZES = {"bfloat16": 2, "float16": 2, "float32": 4}
_SCALE_BYTES, _ZERO_BITS = 2, 4
_PLAIN_GROUP = 128
# The first compute capability that computes in a format itself; below it the weights are unpacked first.
_NATIVE = {"fp8": 8.9, "nvfp4": 10.0, "mxfp4": 9.0}
_FIRST_BFLOAT16 = 8.0


@dataclass(frozen=True, kw_only=True)
class Precision:
    """`weight_bytes` of the matrices in layers; embeddings, norms and routers keep `dtype`.

    `plain_attention` says that attention's matrices keep it, too. `group` is how many weights share a scale; a GPU's
    share of a matrix must be a multiple of it.
    """

    dtype: Dtype
    dtype_origin: str
    quantization: str = ""
    quantization_origin: str = ""
    weight_bytes: float
    plain_attention: bool = False
    group: int = 1
    cache_dtype: CacheDtype = "auto"

    @property
    def attention_bytes(self) -> float:
        """Of a weight in attention's matrices."""
        return self.dtype_bytes if self.plain_attention else self.weight_bytes

    @property
    def dtype_bytes(self) -> int:
        return _SIZES[self.dtype]

    @property
    def cache_bytes(self) -> int:
        """Of one number in the KV cache."""
        return 1 if self.cache_dtype == "fp8" else self.dtype_bytes


@dataclass(frozen=True)
class _Quantization:
    name: str
    weight_bytes: float
    group: int = 1
    plain_attention: bool = False


def read_precision(
    config: Config,
    backend: Backend,
    *,
    dtype: Dtype | None = None,
    quantization: str | None = None,
    cache_dtype: CacheDtype = "auto",
    modelopt: Config | None = None,
) -> Precision:
    """What config.json says and what was asked for; `modelopt` is hf_quant_config.json, where there is one.

    InvalidModelError for a quantisation that is not known, UsageError for one that the backend does not make.
    """
    with wrong_kinds():
        chosen, origin = _choose_dtype(config, dtype)
        own = _read_quantization(config, modelopt or {})
    made = _make_quantization(backend, own, quantization)
    found = made or own or _Quantization("", _SIZES[chosen])
    cause = "chosen by the user: vLLM quantises the weights as it loads them" if made else "as the checkpoint is"
    return Precision(
        dtype=chosen,
        dtype_origin=origin,
        quantization=found.name,
        quantization_origin=cause if found.name else "",
        weight_bytes=found.weight_bytes,
        group=found.group,
        plain_attention=found.plain_attention,
        cache_dtype=cache_dtype,
    )


def explain_unsupported(precision: Precision, capability: str) -> str | None:
    """Why a GPU of this compute capability cannot take the dtype; None where it can."""
    if precision.dtype == "bfloat16" and float(capability) < _FIRST_BFLOAT16:
        return f"its compute capability {capability} has no bfloat16, which starts at 8.0"
    return None


def note_emulated(precision: Precision, capability: str) -> str | None:
    """What the GPU does not compute itself; None where it does."""
    first = _NATIVE.get(precision.quantization)
    if first is None or float(capability) >= first:
        return None
    return (
        f"compute capability {capability} does not compute in {precision.quantization} (from {first:g} on): the weights"
        " are small in memory, but unpacked for each step"
    )


def _choose_dtype(config: Config, asked: Dtype | None) -> tuple[Dtype, str]:
    if asked is not None:
        return asked, "chosen by the user"
    text = config.get("text_config") or {}
    named = str(config.get("torch_dtype") or config.get("dtype") or text.get("torch_dtype") or text.get("dtype") or "")
    match named.removeprefix("torch."):
        case "bfloat16":
            return "bfloat16", "as in config.json"
        case "float16" | "half":
            return "float16", "as in config.json"
        case "":
            return "bfloat16", "config.json names none: assumed"
    return "bfloat16", f"config.json says {named}, half of which is enough to serve; `dtype` keeps it"


def _make_quantization(backend: Backend, own: _Quantization | None, asked: str | None) -> _Quantization | None:
    """What the engine makes of plain weights while it loads them."""
    if asked is None or (own and own.name == asked):
        return None
    if own:
        raise UsageError(
            f"`quantization={asked}`: the checkpoint is quantised already, as {own.name}", hint="leave it out"
        )
    if backend == "vllm" and asked == "fp8":
        return _Quantization("fp8", 1.0)
    raise UsageError(
        f"`quantization={asked}` needs a checkpoint that is quantised so",
        hint="vLLM itself quantises to fp8 only, TensorRT-LLM to nothing: name a quantised checkpoint",
    )


def _read_quantization(config: Config, modelopt: Config) -> _Quantization | None:
    text = config.get("text_config") or {}
    found = config.get("quantization_config") or text.get("quantization_config")
    found = found or modelopt.get("quantization") or {}
    if not found:
        return None
    method = str(found.get("quant_method") or "modelopt").lower()
    if method in ("modelopt", "modelopt_fp4"):
        return _read_modelopt(found)
    if method == "compressed-tensors":
        return _read_compressed(found)
    if method == "bitsandbytes":
        return _Quantization("bitsandbytes", _packed(4 if found.get("load_in_4bit") else 8, 64, zeros=False))
    if method == "fp8":
        return _fp8(found)
    if method == "mxfp4":
        kept = any("self_attn" in str(module) for module in found.get("modules_to_not_convert") or ())
        return _Quantization("mxfp4", 0.5 + 1 / 32, plain_attention=kept)
    if method in ("awq", "gptq"):
        return _integers(method, int(found.get("bits") or 4), int(found.get("group_size") or _PLAIN_GROUP))
    raise InvalidModelError(
        f"config.json: the quantisation '{method}' is not known, so neither is how large the weights are",
        hint="give the folder that contains the weights' files: their headers say it",
    )


def _fp8(found: Config) -> _Quantization:
    block: list[int] = found.get("weight_block_size") or []
    if len(block) != 2:
        return _Quantization("fp8", 1.0)
    rows, columns = map(int, block)
    return _Quantization("fp8", 1.0 + 4 / (rows * columns), rows)


def _read_modelopt(found: Config) -> _Quantization:
    algorithm = str(found.get("quant_algo") or "").upper()
    if algorithm.startswith("FP8"):
        return _Quantization("fp8", 1.0)
    if algorithm.startswith(("NVFP4", "W4A8_NVFP4")):
        return _Quantization("nvfp4", 0.5 + 1 / 16, 16)
    if "AWQ" in algorithm:
        return _integers("awq", 4, int(found.get("group_size") or _PLAIN_GROUP))
    raise InvalidModelError(
        f"the quantisation '{algorithm or 'modelopt'}' is not known, so neither is how large the weights are",
        hint="give the folder that contains the weights' files: their headers say it",
    )


def _read_compressed(found: Config) -> _Quantization:
    groups: list[dict[str, Any]] = list((found.get("config_groups") or {}).values())
    weights = (groups[0].get("weights") if groups else None) or {}
    bits, group = int(weights.get("num_bits") or 16), weights.get("group_size")
    if weights.get("type") == "float" and bits == 8:
        return _Quantization("fp8", 1.0)
    if weights.get("type") == "float" and bits == 4:
        return _Quantization("nvfp4", 0.5 + 1 / 16, 16)
    if group and int(group) > 0:
        return _integers(f"int{bits}", bits, int(group), zeros=not weights.get("symmetric", True))
    return _Quantization(f"int{bits}", bits / 8)


def _integers(name: str, bits: int, group: int, *, zeros: bool = True) -> _Quantization:
    group = group if group > 0 else 0
    return _Quantization(name, _packed(bits, group, zeros=zeros) if group else bits / 8, group or 1)


def _packed(bits: int, group: int, *, zeros: bool) -> float:
    """Bytes of a weight of so many bits, with its share of the group's scale and zero point."""
    return bits / 8 + (_SCALE_BYTES + (_ZERO_BITS / 8 if zeros else 0)) / group
