"""What other rooms may use of the git engine."""

from builderos.core.paths import check_path, first_collision, fold

from .branches import (
    add_branch,
    branch_by_id,
    branch_facts,
    find_branch,
    find_repository,
    list_branches,
    main_branch,
    main_id_of,
    repository_by_id,
    repository_ids,
    reset_branch,
    set_branch,
    written_since,
)
from .commits import Commit, Person, decode_commit, encode_commit, parents_of, parse_trailers
from .gitcli import GitCommand, run_git
from .journal import Torn, advance, mirror_ref, ready, sync_ref, unsettled
from .maintenance import checkpoint, tidy
from .merge import Conflict, Merge, three_way
from .objects import EMPTY_TREE, Batch, ObjectCache, Oid
from .opening import Opening, opening
from .pending import add_pending, fold_pending, pending_of
from .publish import Publication, seal, sweep_quarantine
from .receive import Arrival, PackGauge, Quarantine, Sight, blob_sizes, examine, index_fault, quarantine
from .restoring import LostBranch, LostRepository, known, restore_branch, restore_pending, restore_repository
from .scratch import File, Scratch
from .serving import TAGS, holds, tag_tips, unseen, upload_pack
from .settling import align, misfits, prepare, settle_all
from .store import RepositoryStore
from .survey import backlog, drafts, orphans, set_aside, stale, sweep, sweep_drafts
from .trees import (
    BLOB,
    EXECUTABLE,
    LINK,
    SUBMODULE,
    TREE,
    Edit,
    Entry,
    colliding,
    diff_trees,
    edit_tree,
    fresh_objects,
    lookup,
    parse_tree,
    walk,
)

__all__ = [
    "BLOB", "EMPTY_TREE", "EXECUTABLE", "File", "LINK", "SUBMODULE", "TAGS", "TREE", "Arrival", "Batch", "Commit",
    "Conflict", "Edit", "Entry", "GitCommand", "LostBranch", "LostRepository", "Merge", "ObjectCache", "Oid",
    "Opening", "PackGauge", "Person", "Publication", "Quarantine", "RepositoryStore", "Scratch", "Sight", "Torn",
    "add_branch", "add_pending", "advance", "align", "backlog", "blob_sizes", "branch_by_id", "branch_facts",
    "check_path", "checkpoint", "colliding", "decode_commit", "diff_trees", "drafts", "edit_tree", "encode_commit",
    "examine", "find_branch", "find_repository", "first_collision", "fold", "fold_pending", "fresh_objects",
    "holds", "index_fault", "known", "list_branches", "lookup", "main_branch", "main_id_of", "mirror_ref",
    "misfits", "opening", "orphans", "parents_of", "parse_trailers", "parse_tree", "pending_of", "prepare",
    "quarantine", "ready", "repository_by_id", "repository_ids", "reset_branch", "restore_branch",
    "restore_pending", "restore_repository", "run_git", "seal", "set_aside", "set_branch", "settle_all",
    "stale", "sweep", "sweep_drafts", "sweep_quarantine", "sync_ref", "tag_tips", "three_way", "tidy", "unseen",
    "unsettled", "upload_pack", "walk", "written_since",
]  # fmt: skip
