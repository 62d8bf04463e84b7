"""What the twin says of candidates that were not measured: service times, simulation, ranking, all models together."""
