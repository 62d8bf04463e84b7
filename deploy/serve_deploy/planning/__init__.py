"""What a deployment is scaled by: its traffic, its cold start, its objectives; and plans, made of measured sweeps."""
