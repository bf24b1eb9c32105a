"""Artifacts: what runs and people keep, named by the hash of its bytes."""
