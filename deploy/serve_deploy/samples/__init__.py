"""Real or generated requests for a model: read, made, kept."""
