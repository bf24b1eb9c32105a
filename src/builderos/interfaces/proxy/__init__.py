"""The door to notebooks, shells and apps: an origin of its own, never the console's."""
