"""What a language model needs of GPUs, from its checkpoint's own config.json: weights, KV cache, and where it fits."""
