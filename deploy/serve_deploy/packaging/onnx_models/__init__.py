"""ONNX models: analysed, fixed, configured and verified."""
