"""Tensors: their types and shapes, their bytes on the wire, and how close two of them are."""
