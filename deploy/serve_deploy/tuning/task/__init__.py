"""What is asked: the options, the models that are tuned, and what is aimed at."""
