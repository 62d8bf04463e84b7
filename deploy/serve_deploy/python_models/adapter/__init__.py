"""What stands beside a function in Triton's folder; it needs nothing but Python, numpy and what the function imports."""
