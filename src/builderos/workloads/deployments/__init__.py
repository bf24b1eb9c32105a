"""Bring a tree of a branch into an environment, and what was there before back again."""
