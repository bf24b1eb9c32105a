"""Limits: rates in memory, counts in the database."""
