"""A real Triton serves the model, and its answers are compared with the model's own."""
