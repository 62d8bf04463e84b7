"""Adds up a sequence; a request that is not in order is an error."""

import triton_python_backend_utils as pb_utils


def control(request, name):
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy().ravel()[0]


class TritonPythonModel:
    def initialize(self, args):
        self.sums = {}

    def execute(self, requests):
        responses = []
        for request in requests:
            number = int(control(request, "CORRID"))
            if control(request, "START"):
                self.sums[number] = 0
            given = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            if number not in self.sums:
                responses.append(pb_utils.InferenceResponse(error=pb_utils.TritonError("a sequence without a start")))
                continue
            self.sums[number] = self.sums[number] + given
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("SUM", self.sums[number])]))
            if control(request, "END"):
                del self.sums[number]
        return responses
