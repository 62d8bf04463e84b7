"""What a model's next version takes over from those that are there."""
