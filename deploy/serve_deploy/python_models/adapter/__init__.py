"""What is written beside a function in Triton's folder; it needs Python, numpy and what the function imports."""
