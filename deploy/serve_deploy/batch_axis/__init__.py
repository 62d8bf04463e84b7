"""A witness from the graph: is axis 0 a batch axis, and if not, which node mixes its rows?"""

from serve_deploy.batch_axis.tracing import trace_batch_axis
from serve_deploy.batch_axis.witness import Cause, GraphWitness

__all__ = ["Cause", "GraphWitness", "trace_batch_axis"]
