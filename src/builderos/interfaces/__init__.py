"""Doors: they translate and hold no business rules."""
