"""Datasets: name and version of files, folders and tables, by the hash of their content; every read is recorded."""
