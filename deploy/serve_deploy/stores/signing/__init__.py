"""Signatures of snapshots: how they are made, and whose a reader accepts."""
