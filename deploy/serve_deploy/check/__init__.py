"""Say of a model repository what does not load, and how to fix it."""
