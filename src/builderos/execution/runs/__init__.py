"""Pipelines as durable runs: what is to be done, what became of it, and what people see of it."""
