"""Commands in Jobs of a Kubernetes cluster."""
