"""Pull a snapshot: into a folder, or once into the cache of this machine."""
