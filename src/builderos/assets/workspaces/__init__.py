"""Sandboxes and everything done in them: commits, history, undo, backups, tasks, promotion."""
