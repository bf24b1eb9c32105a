"""Deployments on this machine."""
