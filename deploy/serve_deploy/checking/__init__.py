"""Check a model repository: which models do not load, why, and how to fix them."""
