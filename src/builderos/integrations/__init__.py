"""Adapters of other products, one folder per vendor."""
