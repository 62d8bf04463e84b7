"""Rewrite a copy of a model that Triton cannot serve as it is."""
