"""The demo: whole stories told through the public doors, every sentence of them checked."""
