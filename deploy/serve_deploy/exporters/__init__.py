"""From a PyTorch module or a scikit-learn estimator to an ONNX file that answers as it does."""
