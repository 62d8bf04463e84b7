"""Strings in capitals."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            given = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()
            loud = np.array([item.upper() for item in given.ravel()], dtype=object).reshape(given.shape)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("LOUD", loud)]))
        return responses
