"""The comparators of searches, as SQLAlchemy writes them."""

from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa

OPERATORS: Final[dict[str, Callable[[Any, Any], sa.ColumnElement[bool]]]] = {
    "=": lambda a, b: a == b, "!=": lambda a, b: a != b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, "LIKE": lambda a, b: a.like(b),
    "ILIKE": lambda a, b: a.ilike(b), "IN": lambda a, b: a.in_(b), "NOT IN": lambda a, b: a.not_in(b),
}  # fmt: skip
