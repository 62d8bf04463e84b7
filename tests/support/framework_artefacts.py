"""Small real models of other frameworks, made by scripts/make_framework_models.py, and the header of a plan."""

from __future__ import annotations

from pathlib import Path

MODELS = Path(__file__).parent / "framework_models"
# Bytes 0 to 3 are the magic and 24 to 27 the version, as NVIDIA told in TensorRT's issue 3073; no GPU built it.
PLAN = b"ftrt" + bytes(20) + bytes((10, 13, 3, 9)) + bytes(100)
