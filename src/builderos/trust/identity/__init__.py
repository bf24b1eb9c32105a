"""Actors and the hashes of their credentials: facts only, no rules."""
