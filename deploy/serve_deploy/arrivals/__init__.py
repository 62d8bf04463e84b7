"""Loads and their arrivals: what the load test sends, and what the twin is simulated under."""
