"""Commands in containers of a Docker daemon."""
