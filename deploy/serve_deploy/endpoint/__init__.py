"""Speak to a running Triton: address, control plane, requests and replies, over HTTP and gRPC."""
