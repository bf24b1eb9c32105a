"""Registered models: versions with stages, aliases and tags; who lets one into production; endpoints that answer."""
