"""What runs of an installation that moves have left on its disk: trees and logs, to where other machines find them."""

import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.core.context import Context
from builderos.core.unit import Unit, as_system

from .logs_find import left_behind, put_away
from .model import runs, steps

_Tree = tuple[str | None, str | None, str, str]


def give_trees(context: Context, org_id: str) -> int:
    """Give every tree that a step has got or left; returns how many there are. Safe to repeat."""
    found = as_system(context, org_id, _trees, read_only=True)
    for repo_id, branch_id, tree, base in found:
        below = as_system(context, org_id, lambda unit, id_=branch_id: _below(unit, id_), read_only=True)
        repositories.Scratch.of(context, org_id, repo_id, below).give(tree, base)
    return len(found)


def put_logs_away(context: Context, org_id: str) -> int:
    """Put every log of an ended attempt away; returns how many there were."""
    return sum(put_away(context, org_id, found) for found in left_behind(context, org_id, 0))


def _trees(unit: Unit) -> list[_Tree]:
    """Repository, branch, tree, and the tree that the run started from."""
    found: set[_Tree] = set()
    columns = (runs.c.repo_id, runs.c.branch_id, runs.c.base_tree, steps.c.input_tree, steps.c.output_tree)
    for row in unit.execute(sa.select(*columns).join(runs, runs.c.id == steps.c.run_id)):
        base = row.base_tree or repositories.EMPTY_TREE.hex()
        trees = {row.input_tree, row.output_tree} - {None, "", base}
        found |= {(row.repo_id, row.branch_id, tree, base) for tree in trees}
    return sorted(found, key=str)


def _below(unit: Unit, branch_id: str | None) -> str | None:
    return repositories.branch_by_id(unit, branch_id).store if branch_id is not None else None
