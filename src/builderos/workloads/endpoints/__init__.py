"""Endpoints: registered models that answer, each in a sandbox; traffic between versions, and the way back."""
