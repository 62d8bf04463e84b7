"""Formulas, targets and decisions of the autoscaler."""
