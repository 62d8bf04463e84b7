"""Typed Python functions and standard steps, as models of Triton's Python backend."""
