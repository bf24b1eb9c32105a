"""The git host that this server is for its own repositories."""
