"""Takes as many milliseconds as the request says; one instance, so that a long one holds up all others.

Writes down when each request began and ended, by the machine's monotonic clock.
"""

import time
from pathlib import Path

import triton_python_backend_utils as pb_utils

LOG = Path(__file__).with_name("times")


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            start = time.monotonic()
            wanted = pb_utils.get_input_tensor_by_name(request, "MILLISECONDS").as_numpy()
            time.sleep(float(wanted[0]) / 1e3)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("TAKEN", wanted)]))
            with LOG.open("a") as log:
                log.write(f"{start} {time.monotonic()}\n")
        return responses
