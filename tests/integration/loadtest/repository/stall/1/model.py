"""Takes as many milliseconds as the request says; one instance, so that a long one holds up all others."""

import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            wanted = pb_utils.get_input_tensor_by_name(request, "MILLISECONDS").as_numpy()
            time.sleep(float(wanted[0]) / 1e3)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("TAKEN", wanted)]))
        return responses
