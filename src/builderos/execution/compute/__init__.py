"""Rooms for commands that nobody has read: what is asked of one, what comes back, which kinds are approved."""
