"""Make tagger.onnx: a two-layer LSTM with random weights, exported as PyTorch exports it by default.

Needs torch, which this project does not: python make.py
"""

from __future__ import annotations

from pathlib import Path

import torch

LAYERS, FEATURES, HIDDEN, TAGS = 2, 8, 16, 5


class Tagger(torch.nn.Module):
    """Scores of five tags for each step; the state goes in as h0 and c0, and comes out as hn and cn."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(FEATURES, HIDDEN, num_layers=LAYERS, batch_first=True)
        self.head = torch.nn.Linear(HIDDEN, TAGS)

    def forward(self, features: torch.Tensor, h0: torch.Tensor, c0: torch.Tensor) -> tuple[torch.Tensor, ...]:
        steps, (hn, cn) = self.lstm(features, (h0, c0))
        return self.head(steps).softmax(dim=-1), hn, cn


if __name__ == "__main__":
    torch.manual_seed(7)
    state = torch.zeros(LAYERS, 3, HIDDEN)
    torch.onnx.export(
        Tagger().eval(), (torch.randn(3, 7, FEATURES), state, state), Path(__file__).with_name("tagger.onnx"),
        input_names=["features", "h0", "c0"], output_names=["scores", "hn", "cn"], opset_version=17, dynamo=False,
        dynamic_axes={
            "features": {0: "batch", 1: "time"}, "scores": {0: "batch", 1: "time"},
            **{name: {1: "batch"} for name in ("h0", "c0", "hn", "cn")},
        },
    )  # fmt: skip
