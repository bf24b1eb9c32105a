"""What other rooms may use of the workspaces."""

from .promotion import on_verdict
from .pulls import add_comment
from .push import Command, accept, check, refusal
from .upload import Address, Reading, View, look, read
from .witness import unlogged_commits

__all__ = [
    "Address", "Command", "Reading", "View", "accept", "add_comment", "check", "look", "on_verdict", "read", "refusal",
    "unlogged_commits",
]  # fmt: skip
