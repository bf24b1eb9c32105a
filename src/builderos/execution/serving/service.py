"""What whoever serves something from a jail may use."""

from .relay import SILENT, Inside, Passing

__all__ = ["SILENT", "Inside", "Passing"]
