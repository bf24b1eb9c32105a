"""What the composition root takes of S3."""

from .carrier import S3Carrier
from .store import open_store

__all__ = ["S3Carrier", "open_store"]
