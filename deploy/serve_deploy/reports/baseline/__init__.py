"""Is a run slower than a saved one: load by load, and what chance could have made of it."""
