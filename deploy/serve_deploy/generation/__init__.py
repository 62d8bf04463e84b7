"""What a generating endpoint is asked, and how its stream is read: Triton's, OpenAI's and gRPC's. No I/O."""
