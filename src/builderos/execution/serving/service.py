"""What whoever serves something from a jail may use."""

from .relay import Inside, Passing

__all__ = ["Inside", "Passing"]
