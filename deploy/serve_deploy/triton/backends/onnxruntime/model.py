"""Triton's onnxruntime backend, on Python: the thinnest path for now."""

import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        return config

    def initialize(self, args):
        path = f"{args['model_repository']}/{args['model_version']}/model.onnx"
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.inputs = [tensor.name for tensor in self.session.get_inputs()]
        self.outputs = [tensor.name for tensor in self.session.get_outputs()]

    def execute(self, requests):
        return [self._respond(request) for request in requests]

    def _respond(self, request):
        feeds = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
        outputs = self.session.run(self.outputs, feeds)
        return pb_utils.InferenceResponse([pb_utils.Tensor(*pair) for pair in zip(self.outputs, outputs, strict=True)])
