"""`tune`: find the configuration that serves a model best, by measuring little, simulating much and racing the best."""
