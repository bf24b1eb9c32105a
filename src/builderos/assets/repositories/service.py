"""What other rooms may use of the git engine."""

from .branches import (
    add_branch,
    branch_by_id,
    create_store,
    find_branch,
    find_repository,
    list_branches,
    main_branch,
    repository_by_id,
    reset_branch,
    set_branch,
)
from .commits import Commit, Person, decode_commit, encode_commit, parse_trailers
from .journal import advance, ready, settle, sync_ref, unsettled
from .merge import Conflict, Merge, three_way
from .objects import EMPTY_TREE, Batch, ObjectCache, Oid
from .paths import check_path, first_collision
from .pending import add_pending, fold_pending, pending_of
from .store import RepositoryStore
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
    "BLOB", "EMPTY_TREE", "EXECUTABLE", "LINK", "SUBMODULE", "TREE", "Batch", "Commit", "Conflict", "Edit", "Entry", "Merge", "ObjectCache",
    "Oid", "Person", "RepositoryStore", "add_branch", "add_pending", "advance", "branch_by_id", "check_path", "colliding",
    "create_store", "decode_commit", "diff_trees", "edit_tree", "encode_commit", "find_branch", "find_repository",
    "first_collision", "fold_pending", "fresh_objects", "list_branches", "lookup", "main_branch", "parse_trailers",
    "parse_tree", "pending_of", "ready", "repository_by_id", "reset_branch", "set_branch", "settle", "sync_ref", "three_way", "unsettled", "walk",
]  # fmt: skip
