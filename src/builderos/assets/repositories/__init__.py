"""The git engine: objects, stores, and the journal through which branches move."""
