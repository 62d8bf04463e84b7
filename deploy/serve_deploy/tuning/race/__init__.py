"""Finalists against the baseline: rounds, proof and confirmation, and what is concluded from them."""
