"""The HTTP door: the contract every other door is a client of."""
