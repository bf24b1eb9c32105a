"""The delivery files of a project repository (SPEC §4) as pure functions from a tree to file edits."""

from builderos.assets.workspaces.delivery import changelog, memory, reverts, tasks
from builderos.assets.workspaces.delivery.layout import (
    CONFIG,
    LOGS,
    Edits,
    Files,
    Layout,
    Overlay,
    is_delivery,
    is_exempt,
    is_log,
)
from builderos.assets.workspaces.delivery.parse import Issue

__all__ = [
    "CONFIG",
    "LOGS",
    "Edits",
    "Files",
    "Issue",
    "Layout",
    "Overlay",
    "changelog",
    "is_delivery",
    "is_exempt",
    "is_log",
    "memory",
    "reverts",
    "tasks",
]
