"""Measure a Triton endpoint: schedule, payload, client, runner, report."""
