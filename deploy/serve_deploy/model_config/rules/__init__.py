"""What Triton refuses in a configuration, and why: a module for each part of it."""
