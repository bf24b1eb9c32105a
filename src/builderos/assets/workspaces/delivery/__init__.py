"""The delivery files of a project repository (SPEC §4) as pure functions from a tree to file edits."""

from builderos.assets.workspaces.delivery import changelog, memory, reverts, tasks
from builderos.assets.workspaces.delivery.check import opens, validate
from builderos.assets.workspaces.delivery.config import layout_from
from builderos.assets.workspaces.delivery.formats import TaskStatus, is_task_id, schemas
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
from builderos.assets.workspaces.delivery.merge import merge_delivery
from builderos.assets.workspaces.delivery.parse import Issue
from builderos.assets.workspaces.delivery.whole import empty, goals_text, issues

__all__ = [
    "CONFIG",
    "LOGS",
    "Edits",
    "Files",
    "Issue",
    "Layout",
    "Overlay",
    "TaskStatus",
    "changelog",
    "empty",
    "goals_text",
    "is_delivery",
    "is_exempt",
    "is_log",
    "is_task_id",
    "issues",
    "layout_from",
    "memory",
    "merge_delivery",
    "opens",
    "reverts",
    "schemas",
    "tasks",
    "validate",
]
