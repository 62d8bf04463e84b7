"""Model stores: push and pull that never show half a model."""
