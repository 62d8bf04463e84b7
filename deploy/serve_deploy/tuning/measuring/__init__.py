"""Candidates measured on servers, each once: settings by a few loads, and the checkpoint that keeps all of it."""
