"""What other rooms may use of the workspaces."""

from . import remembered
from .places import BranchIn, BranchWriteIn, Place, locate
from .promotion import on_verdict
from .pulls import add_comment
from .push import Command, accept, check, refusal
from .upload import Address, Reading, View, look, read
from .witness import unlogged_commits

__all__ = [
    "Address", "BranchIn", "BranchWriteIn", "Command", "Place", "Reading", "View", "accept", "add_comment", "check",
    "locate", "look", "on_verdict", "read", "refusal", "remembered", "unlogged_commits",
]  # fmt: skip
