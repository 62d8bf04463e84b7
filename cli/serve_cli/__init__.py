"""The command line of serve."""
