"""Alerts that a person should see."""
