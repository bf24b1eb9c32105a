"""Agents: role packs, and the loop that lets a model work in the workspace of a step."""
