"""The words of a policy question and its answer."""

import posixpath
import re
from dataclasses import dataclass
from typing import Final, Literal

from builderos.core.actor import Role
from builderos.core.problems import Problem

ResourceKind = Literal[
    "alert", "approval", "backup", "branch", "credential", "ledger",
    "org", "pull", "repo", "sandbox", "schedule", "tool",
]  # fmt: skip
BranchKind = Literal["archive", "backup", "base", "dev", "main", "sandbox"]
ImportSource = Literal["path", "url"]
Verdict = Literal["allow", "needs_approval", "deny"]

_NEVER_IN_PATHS: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff\\\\]")


@dataclass(frozen=True, slots=True)
class Resource:
    """What is acted upon, as the server's own records know it; nothing here may come from the caller unchecked.

    Which facts a kind needs and may have is in `schema.cedarschema`; a missing or a superfluous one is a denial:

    - `branch`: `repo_id`, `branch_kind`; `sandbox_id` where one sandbox owns it; `default_write` for the branch that
      `DEFAULT_WRITE_BRANCH` names.
    - `sandbox`, `backup`: `repo_id`; `sandbox_id` (of a backup: the sandbox it was taken from).
    - `pull`: `repo_id`, `branch_kind` and `sandbox_id` of the source, `target_kind` and `target_sandbox_id`.
    - `approval`: as far as it is about a pull, `repo_id`, `sandbox_id`, `target_kind`, `target_sandbox_id`.
    - `repo`: `source` when it is being imported. `credential`: its `role` and `scopes`.
    """

    kind: ResourceKind
    id: str
    org_id: str
    repo_id: str | None = None
    branch_kind: BranchKind | None = None
    sandbox_id: str | None = None
    default_write: bool = False
    target_kind: BranchKind | None = None
    target_sandbox_id: str | None = None
    source: ImportSource | None = None
    role: Role | None = None
    scopes: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The circumstances of one act.

    `paths` are repository paths, kept in canonical form and sorted. `diff_hash` is the hash of the tree or diff that an
    approval would be bound to. `requested_by` is the actor on whose request the act is done when someone else carries it
    out (a reviewer merges the promotion of a sandbox user), so that both ask about one and the same thing.
    Raises `Problem("invalid_path")` for a path that has no canonical form, `TypeError` for a switch that is no bool.
    """

    anonymous_mode: bool = False
    paths: tuple[str, ...] = ()
    diff_hash: str = ""
    requested_by: str = ""

    def __post_init__(self) -> None:
        # 1 == True, so a number would share the cache entry of a switch it is not.
        if type(self.anonymous_mode) is not bool:
            raise TypeError("anonymous_mode must be a bool")
        object.__setattr__(self, "paths", tuple(sorted({canonical_path(path) for path in self.paths})))


NO_CONTEXT = RequestContext()


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. `rules` are the ids of the deciding rules, the first of them names `code` and `hint`.

    `code` is empty for `allow`, `approval_required` for `needs_approval`, else a problem code of SPEC §2. `digest` is the
    SHA-256 (hex) of the canonical request; an approval is bound to it.
    """

    verdict: Verdict
    rules: tuple[str, ...]
    code: str
    hint: str
    digest: str


def canonical_path(path: str) -> str:
    """`./src//a.py` → `src/a.py`; the only form in which a path meets a rule.

    A glob such as `src/*` also matches `src/../secret`, therefore `..` is refused rather than resolved, as are absolute
    paths, backslashes, control characters and the empty path. Raises `Problem("invalid_path")`.
    """
    wrong = not path or path.startswith("/") or _NEVER_IN_PATHS.search(path)
    if wrong or ".." in path.split("/") or (canonical := posixpath.normpath(path)) == ".":
        raise Problem(
            "invalid_path",
            f"{path!r} is not a path inside the repository.",
            hint="Use a relative path with forward slashes and without '..', for example src/app.py.",
        )
    return canonical
