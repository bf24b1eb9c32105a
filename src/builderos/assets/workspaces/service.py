"""What other rooms may use of the workspaces."""

from .pulls import on_verdict

__all__ = ["on_verdict"]
