"""From options and model to the requests that the workers send."""

from __future__ import annotations

from serve_deploy.errors import UsageError
from serve_deploy.loadtest.exchange import Request
from serve_deploy.loadtest.model import Model
from serve_deploy.loadtest.options import LoadTestOptions
from serve_deploy.loadtest.payload import http_body, http_request
from serve_deploy.loadtest.samples import generate_sample


def build_requests(options: LoadTestOptions, model: Model) -> tuple[Request, ...]:
    """Ready bytes, to be sent in rotation; UsageError where the model does not take what is asked for."""
    largest = max(model.max_batch_size, 1)
    if options.batch_size > largest:
        raise UsageError(
            f"--batch-size {options.batch_size}: {model.name} takes at most {largest} in a request",
            hint="its max_batch_size says so",
        )
    sample = generate_sample(
        model,
        batch_size=options.batch_size,
        shapes=dict(options.shapes),
        seed=options.seed,
        string_length=options.string_length,
    )
    body, json_length = http_body(model, sample)
    return (Request(http_request(options.endpoint, model, options.model_version, body, json_length)),)
