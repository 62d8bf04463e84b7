"""What a load test of a language model asks: prompts from files, synthetic ones, traces, conversations."""
