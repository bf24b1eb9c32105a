"""What other rooms may use of the memory."""

from .manage import manage
from .query import query

__all__ = ["manage", "query"]
