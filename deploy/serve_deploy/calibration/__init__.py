"""From measured loads to the twin of the server that was measured."""
