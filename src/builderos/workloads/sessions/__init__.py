"""Notebooks and shells in jails, on the files of a branch."""
