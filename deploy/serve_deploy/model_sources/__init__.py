"""Models that a registry or a hub names: found, pinned to a version or commit, and fetched."""
