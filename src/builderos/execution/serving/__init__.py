"""Reaching servers that run in jails."""
