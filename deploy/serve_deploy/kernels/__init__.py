"""Which operators each release's ONNX Runtime runs, by version and types, as found by trying them on its wheel.

`scripts/kernel_table` writes the table. It covers ONNX Runtime's CPU kernels, which models on a GPU fall back to; what
only its CUDA kernels run is not in it.
"""

from __future__ import annotations

from serve_deploy.kernels.answers import Answer, OperatorUse, Verdict, answer_all
from serve_deploy.kernels.table import TABLE_PATH, KernelTable, read_table

__all__ = ["TABLE_PATH", "Answer", "KernelTable", "OperatorUse", "Verdict", "answer_all", "read_table"]
