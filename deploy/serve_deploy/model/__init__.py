"""Read an ONNX file, ask what it is, and run it in ONNX Runtime."""
