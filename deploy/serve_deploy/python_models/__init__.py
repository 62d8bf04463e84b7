"""Python models made from a plain typed function file, and the standard steps before and after a model."""
