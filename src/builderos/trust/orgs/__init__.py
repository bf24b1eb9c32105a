"""Organisations and the keys that their members hand out."""
