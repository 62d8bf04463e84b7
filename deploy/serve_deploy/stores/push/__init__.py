"""Push a repository: as a snapshot, to one fixed path for each model, or as an image."""
