"""Lineage: what was made from what, as edges between data, code, runs, artifacts, models, endpoints and apps."""
