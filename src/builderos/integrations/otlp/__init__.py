"""Traces to whoever collects them."""
