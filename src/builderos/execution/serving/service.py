"""What whoever serves something from a jail may use."""

from .lines import Lines, Reply, Silent
from .relay import SILENT, Inside, Passing, TooLarge
from .site import Files

__all__ = ["SILENT", "Files", "Inside", "Lines", "Passing", "Reply", "Silent", "TooLarge"]
