"""Start and stop real Triton servers."""
