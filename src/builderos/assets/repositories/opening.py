"""What a new sandbox has to know of its repository, in one round trip to the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .branches import the_one
from .schema import MAIN, Branch, Repository

# Columns of `ops.opening` that describe the repository; then a branch, then the free name.
_REPOSITORY: Final = 7


@dataclass(frozen=True)
class Opening:
    """A repository with `main`, its base branch (None: not made yet) and the first of the wanted names that is free."""

    repository: Repository
    main: Branch
    base: Branch | None
    free_name: str | None


def opening(
    unit: Unit, names: Sequence[str], *, repo_id: str | None = None, repo_name: str | None = None,
    owner: str | None = None,
) -> Opening:  # fmt: skip
    """The opening of a repository, by its id or by its name. Raises as `find_repository` does."""
    rows = unit.ask("ops.opening", repo_id, repo_name, owner, list(names))
    found = {
        row[0]: Repository(row[0], row[1], row[2], row[3], tuple(row[4]), row[5], row[6]) for row in rows
    }
    repo = the_one(list(found.values()), repo_name or "")
    trunks = {branch.name: branch for row in rows for branch in [Branch(*row[_REPOSITORY:-1])]}
    if MAIN not in trunks:
        raise Problem("not_found", "this repository has no main branch")
    return Opening(repo, trunks[MAIN], trunks.get(repo.base_branch), rows[0][-1])
