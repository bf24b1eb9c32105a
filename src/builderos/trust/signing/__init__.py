"""Keys that sign: the heads of the ledger."""
