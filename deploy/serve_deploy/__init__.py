"""From a model file to a measured, autoscaled Triton deployment."""

__version__ = "0.1.0"
