"""What workspaces need of a git host: the place where people look at branches and pull requests.

The workspace store is always our own; a host is shown what happens there. `local` is this server itself; a
hosted forge receives pushes and pull requests and is the truth of its own `main` only. Every adapter passes
`tests/ports/test_git_host.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from builderos.assets.repositories.schema import Branch, Repository
from builderos.core.context import Context
from builderos.core.registry import Registry
from builderos.core.unit import Unit


@dataclass(frozen=True, slots=True)
class HostPull:
    """A pull request as a host shows it."""

    id: str
    source: Branch
    target: Branch
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Protection:
    """What a host enforces on a branch: each is refused when true."""

    branch: str
    direct_writes: bool
    force_pushes: bool
    deletion: bool
    needs_approval: bool


class GitHost(Protocol):
    """One kind of host. All verbs may be repeated with the same arguments and have one effect."""

    name: str

    def push(self, unit: Unit, branch: Branch) -> str:
        """Make the branch's tip visible; returns the sha the host shows. Raises `conflict` rather than rewrite."""
        ...

    def open_pull(self, unit: Unit, pull: HostPull) -> str:
        """Open or refresh a pull request; returns its address."""
        ...

    def comment(self, unit: Unit, pull_id: str, text: str) -> str:
        """Add a comment to a pull request; returns its address."""
        ...

    def merged(self, unit: Unit, pull_id: str, target: Branch, sha: str) -> None:
        """The pull request was merged: the host shows `sha` as the target's tip."""
        ...

    def protections(self, unit: Unit, repo: Repository) -> list[Protection]:
        """What the host enforces on the shared branches."""
        ...


class GitHosts(Registry[GitHost]):
    """Hosts by name, as `repositories.host` has it."""

    def __init__(self) -> None:
        super().__init__("git host")


@dataclass(frozen=True, slots=True)
class Examiner:
    """`look` says in words what is well, or raises a `Problem`; `mend` repairs it, where that is safe."""

    look: Callable[[Unit], str]
    mend: Callable[[Unit], object] | None = None


class Examiners(Registry[Examiner]):
    """What other rooms have the doctor look at, by name."""

    def __init__(self) -> None:
        super().__init__("check of the doctor")


@dataclass(frozen=True, slots=True)
class Projection:
    """Rows that another room can write again: ids of those that are missing, and how they come back.

    `rebuild` returns in words what could not be put back.
    """

    missing: Callable[[Unit], list[str]]
    rebuild: Callable[[Context], list[str]]


class Projections(Registry[Projection]):
    """What other rooms have `doctor --rebuild` put back: name → how."""

    def __init__(self) -> None:
        super().__init__("projection")


class Origins(Registry[Callable[[Unit, str], list[tuple[str, str, str]]]]):
    """Who tells where other things come from, by the prefix of their ids (`run`, `stp`, `art`): edges of subject,
    relation and object. Raises `not_found`, also for what the caller may not see.
    """

    def __init__(self) -> None:
        super().__init__("origin")


class Authors(Registry[Callable[[Unit, Any, str, int], str | None]]):
    """Who else knows who wrote a line, given the commit (`provenance.Found`) and path and number there: a sentence, or
    None.
    """

    def __init__(self) -> None:
        super().__init__("author")
