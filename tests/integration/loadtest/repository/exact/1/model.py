"""Takes exactly 5 ms a request."""

import time

import triton_python_backend_utils as pb_utils

SECONDS = 0.005


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            end = time.monotonic() + SECONDS
            time.sleep(SECONDS - 0.0005)
            while time.monotonic() < end:
                pass
            given = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", given)]))
        return responses
