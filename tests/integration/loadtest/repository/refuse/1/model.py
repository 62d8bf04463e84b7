"""Fails with the code of Triton's that the request names."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            code = pb_utils.get_input_tensor_by_name(request, "CODE").as_numpy()[0].decode()
            if code == "OK":
                outputs = [pb_utils.get_input_tensor_by_name(request, "CODE")]
                responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("DONE", outputs[0].as_numpy())]))
                continue
            error = pb_utils.TritonError(f"asked for {code}", getattr(pb_utils.TritonError, code))
            responses.append(pb_utils.InferenceResponse(error=error))
        return responses
