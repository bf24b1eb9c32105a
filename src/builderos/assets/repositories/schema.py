"""What other rooms may know of a repository and its branches."""

from dataclasses import dataclass
from typing import Literal

BranchKind = Literal["main", "base", "sandbox", "backup", "dev"]
BranchState = Literal["active", "archived", "deleted"]

MAIN = "main"


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of the unit's organisation."""

    id: str
    owner: str
    name: str
    base_branch: str
    reserved_names: tuple[str, ...] = ()
    host: str = "local"
    home: str | None = None  # its project as `ops.home_of` says it; None: not asked for


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch as the database holds it: `tip` is the truth, the ref on disk follows it.

    `commits`: own commits since creation. `files`: paths that differ from `base_sha`. `pending`: changelog entries of
    pushes that the next commit of the server writes into the delivery files.
    """

    id: str
    repo_id: str
    repo_name: str
    host: str
    name: str
    kind: BranchKind
    store: str
    tip: str
    base_sha: str
    commits: int
    files: int
    pending: int
    state: BranchState
    home: str | None = None  # the project of its repository as `ops.home_of` says it; None: not asked for

    @property
    def ref(self) -> str:
        """The full ref name."""
        return f"refs/heads/{self.name}"

    @property
    def archive_ref(self) -> str:
        """Where its tip stays while the branch is archived: outside of what clients are shown."""
        return f"refs/bos/archive/{self.id}"
