"""Write a Helm chart for a model repository."""
