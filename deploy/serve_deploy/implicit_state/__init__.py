"""A recurrent model's state as Triton keeps it: which tensors it is, a copy that fits, and the proof by sequences."""
