"""What a store says of itself: manifests, the pointer, who works on a snapshot, and whether its files are there."""
