"""What runs in a Kubernetes cluster: releases, their pods, models and autoscalers."""
