"""What is sent: samples in rotation, sequences, or prompts, as bytes made once."""
