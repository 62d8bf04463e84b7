"""What a user may decide about a load test: the loads, requests, and several models at once."""

from serve_deploy.loadtest.options.generation import GenerationOptions
from serve_deploy.loadtest.options.load_test import LoadTestOptions
from serve_deploy.loadtest.options.loads import Search
from serve_deploy.loadtest.options.mix import MixOptions

__all__ = ["GenerationOptions", "LoadTestOptions", "MixOptions", "Search"]
