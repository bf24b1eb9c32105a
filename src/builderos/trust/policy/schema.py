"""The words of a policy question and its answer."""

import posixpath
import re
from dataclasses import dataclass
from typing import Final, Literal

from builderos.core.actor import Role
from builderos.core.problems import Problem

ResourceKind = Literal[
    "alert", "approval", "artifact", "backup", "branch", "credential", "ledger", "member", "model",
    "org", "project", "pull", "repo", "sandbox", "schedule", "tool", "workspace",
]  # fmt: skip
BranchKind = Literal["archive", "backup", "base", "dev", "main", "sandbox"]
ImportSource = Literal["path", "url"]
Verdict = Literal["allow", "needs_approval", "deny"]

_NEVER_IN_PATHS: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff\\\\]")


@dataclass(frozen=True, slots=True)
class Resource:
    """What is acted upon, as the server's own records know it; nothing here comes from the caller unchecked.

    Which facts a kind needs and may have is in `schema.cedarschema`; a missing or superfluous one is a
    denial:

    - `branch`: `repo_id`, `branch_kind`; `sandbox_id` where one sandbox owns it; `default_write` for the
      branch that `DEFAULT_WRITE_BRANCH` names.
    - `sandbox`: `repo_id`, `sandbox_id`. `backup`: `repo_id`; of its branch `sandbox_id` and `default_write`.
    - `pull`: `repo_id`; of its source `branch_kind`, `sandbox_id`, `default_write`; of its target
      `target_kind`, `target_sandbox_id`. `approval`: as far as it is about a pull, the same without those
      of the branch.
    - `artifact`: `repo_id` and `sandbox_id` where it belongs to one.
    - `repo`: `repo_id`; `source` when it is to be imported. `credential`: the `role` and `scopes` it grants.
    - Of everything in a repository, by name and for the scopes of a policy file alone: `project`, the
      repository, `branch`, the one that the act reads or changes, and `environment`, where it acts in one.
    - `home`: the project of the repository as `ops.home_of` says it, where whoever asks knows it; None: it is looked up
      where that matters, by `repo_id` or, of what is no fact of a repository, by `lies_in`: the id of a repository, or
      of a project and its workspace.
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
    project: str | None = None
    branch: str | None = None
    environment: str | None = None
    home: str | None = None
    lies_in: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The circumstances of one act.

    `paths` are repository paths, kept in canonical form and sorted. The other two bind an approval:
    `diff_hash`, the hash of the tree or diff that is approved, and `requested_by`, the id of the actor on
    whose request the act is done when another carries it out (a reviewer merges a sandbox user's
    promotion): both then ask one question. Raises `Problem("invalid_path")` for a path without canonical
    form, `TypeError` for a switch that is no bool.
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

    `code` is empty for `allow`, `approval_required` for `needs_approval`, else a problem code of SPEC §2.
    `digest` is the SHA-256 (hex) of the canonical request; an approval is bound to it. It is empty where the
    rules could not be evaluated.
    """

    verdict: Verdict
    rules: tuple[str, ...]
    code: str
    hint: str
    digest: str


def canonical_path(path: str) -> str:
    """`./src//a.py` → `src/a.py`; the only form in which a path meets a rule.

    A glob such as `src/*` also matches `src/../secret`, therefore `..` is refused rather than resolved, as
    are absolute paths, backslashes, control characters and the empty path. Raises
    `Problem("invalid_path")`.
    """
    wrong = not path or path.startswith("/") or _NEVER_IN_PATHS.search(path)
    if wrong or ".." in path.split("/") or (canonical := posixpath.normpath(path)) == ".":
        raise Problem(
            "invalid_path",
            f"{path!r} is not a path inside the repository.",
            hint="Use a relative path with forward slashes and without '..', for example src/app.py.",
        )
    return canonical
