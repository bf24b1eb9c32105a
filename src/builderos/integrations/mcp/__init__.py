"""Servers of the Model Context Protocol, from the client's side."""
