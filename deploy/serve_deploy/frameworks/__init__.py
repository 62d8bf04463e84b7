"""Models of other frameworks than ONNX: what their files tell without the framework."""
