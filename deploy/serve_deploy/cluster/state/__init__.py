"""What runs of a release, read from the cluster's objects and judged: workload, replicas, models, autoscaler, logs."""
