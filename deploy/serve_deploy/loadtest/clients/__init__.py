"""Connections of the hot loop, and the control plane beside it."""
