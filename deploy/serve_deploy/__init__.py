"""From a model file to a measured, autoscaled Triton deployment."""

import os

__version__ = "0.1.0"

# ONNX Runtime on Linux reports to its maker unless this is set before its import; models are their owners' business.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
