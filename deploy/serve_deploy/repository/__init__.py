"""Triton model repositories on disk: what is in them, and how a version is written into one."""
