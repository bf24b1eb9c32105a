"""The inference gateway: models of any provider behind one gate, one budget, one ledger of what was used."""
