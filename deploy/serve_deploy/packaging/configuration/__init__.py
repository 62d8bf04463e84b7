"""What config.pbtxt says of a model, and the configuration for each GPU."""
