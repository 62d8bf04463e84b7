"""One request to a Triton endpoint."""
