"""The models of a running Triton: what it serves, what they have done and what they take; loaded and unloaded."""
