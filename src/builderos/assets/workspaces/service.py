"""What other rooms may use of the workspaces."""

from . import remembered
from .content import TreeFiles, file_at, files_of, tip_of
from .history import resolve, unified_diff
from .lifecycle import age_sandboxes
from .names import draw as draw_name
from .places import BranchIn, BranchWriteIn, Place, branch_resource, locate, within
from .promotion import PromoteIn, on_verdict, promote
from .provenance import Found, find_commit
from .pulls import add_comment, forget_words
from .push import Command, accept, check, refusal
from .results import Made, commit_result, revert_result
from .sandboxes import touch
from .schedules import back_up_daily, export_weekly, settle_backups, sign_ledger
from .subjects import SUBJECTS
from .taskchecks import Failed, check_failed, check_of
from .upload import Address, Reading, View, look, read
from .witness import unlogged_commits

__all__ = [
    "SUBJECTS",
    "Address",
    "BranchIn",
    "BranchWriteIn",
    "Command",
    "Failed",
    "Found",
    "Made",
    "Place",
    "PromoteIn",
    "Reading",
    "TreeFiles",
    "View",
    "accept",
    "add_comment",
    "age_sandboxes",
    "back_up_daily",
    "branch_resource",
    "check",
    "check_failed",
    "check_of",
    "commit_result",
    "draw_name",
    "export_weekly",
    "file_at",
    "files_of",
    "find_commit",
    "forget_words",
    "locate",
    "look",
    "on_verdict",
    "promote",
    "read",
    "refusal",
    "remembered",
    "resolve",
    "revert_result",
    "settle_backups",
    "sign_ledger",
    "tip_of",
    "touch",
    "unified_diff",
    "unlogged_commits",
    "within",
]  # fmt: skip
