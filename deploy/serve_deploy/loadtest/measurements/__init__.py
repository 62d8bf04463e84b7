"""What was measured: requests, token streams and the server, as points of the report."""
