"""The append-only record of acts, chained per organisation."""
