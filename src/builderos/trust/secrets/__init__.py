"""Encryption of what must be kept but not read in the database."""
