"""The servers that candidates run on: of our own, or one that runs and gets its configurations back."""
