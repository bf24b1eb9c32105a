"""Experiments: runs with their parameters, series of metrics, tags, inputs and files; searched, compared, swept."""
