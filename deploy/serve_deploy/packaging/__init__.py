"""From a model file to a proven, verified model in a repository."""
