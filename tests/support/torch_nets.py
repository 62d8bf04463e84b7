"""PyTorch modules that tests export: what exporters do well, and what they do wrong without a word."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Images(nn.Module):
    """A small classifier with a dropout, which must be off, and outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.drop, self.head = nn.Conv2d(1, 4, 3), nn.Dropout(0.5), nn.Linear(144, 10)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.drop(torch.relu(self.convolution(image))).flatten(1)
        return {"logits": self.head(features), "first": features[:, 0]}


class Texts(nn.Module):
    """Token ids of any length, with a mask that may be left out; several outputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.layer = nn.Embedding(50, 8), nn.Linear(8, 6)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        states = self.layer(self.embedding(input_ids))
        if attention_mask is not None:
            states = states * attention_mask.unsqueeze(-1)
        return states, states.mean(1)


class Halves(nn.Module):
    """Its first output dimension is 2, whatever the batch is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(2, -1)


class Branching(nn.Module):
    """It looks at values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1 if x.sum() > 0 else x - 1


class FourRows(nn.Module):
    """It takes no other batch than one of four."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x.reshape(4, 3)


class Remembering(nn.Module):
    """It counts its calls, and an export cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x + self.calls


class Nested(nn.Module):
    """A list within a tuple."""

    def forward(self, x: torch.Tensor) -> Any:
        return x, [x, x]


class Tagging(nn.Module):
    """A GRU whose state goes in and out, the batch first."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head = nn.GRU(8, 16, batch_first=True), nn.Linear(16, 5)

    def forward(self, features: torch.Tensor, h0: torch.Tensor) -> dict[str, torch.Tensor]:
        states, hn = self.layer(features, h0.transpose(0, 1).contiguous())
        return {"scores": self.head(states), "hn": hn.transpose(0, 1)}


images = Images()


def make_images() -> Images:
    """A function that makes the model."""
    return Images()
