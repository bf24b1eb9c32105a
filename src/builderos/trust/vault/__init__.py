"""Secrets of an organisation: kept sealed, released by policy, kept out of git and out of sight."""
