"""ONNX models: read a file, ask what it is, run it in ONNX Runtime."""
