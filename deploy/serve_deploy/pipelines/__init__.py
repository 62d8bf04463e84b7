"""From a pipeline file to an ensemble in a model repository: wired, unified, written with its members, verified."""
