"""What a served model answers, computed here without Triton: the truth that answers of Triton are compared with."""
