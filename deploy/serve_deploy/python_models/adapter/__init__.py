"""What stands beside a function in Triton's folder: these files need nothing but Python, numpy and the function's own."""
