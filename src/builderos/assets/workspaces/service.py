"""What other rooms may use of the workspaces."""

from .pulls import on_verdict
from .witness import unlogged_commits

__all__ = ["on_verdict", "unlogged_commits"]
