"""One metadata for all rooms' tables, all in schema `ops`. The migrations are the truth; a test compares the two."""

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData(schema="ops")


def as_dict(row: sa.Row[Any]) -> dict[str, Any]:
    """A row by column name."""
    return {str(name): value for name, value in row._mapping.items()}  # pyright: ignore[reportPrivateUsage]
