"""What a load test measured, as a document: figures, pooling, gates, baselines."""
