"""Checkpoints of language models, for vLLM and TensorRT-LLM."""
