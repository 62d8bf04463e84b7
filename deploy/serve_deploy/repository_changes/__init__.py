"""What differs between two model repositories: what a running Triton does with it, and whether clients break."""
