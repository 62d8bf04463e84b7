"""Models whose state Triton keeps: found, proven by sequences, verified."""
