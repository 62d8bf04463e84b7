"""Triton model repositories on disk: written atomically, read and checked."""
