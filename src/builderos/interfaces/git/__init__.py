"""The door for real git clients: clone, fetch and push over smart HTTP."""
