"""Standard steps: function files that serve brings, with settings."""
