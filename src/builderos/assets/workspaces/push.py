"""A push from a git client: the same rules as `commit_and_log`, and the same way into the branch.

`check` looks at what lies in quarantine and needs no transaction; `accept` moves the branch in one, together with the
ledger line and what the delivery files must still learn. The server adds no commit on top: two pushes need no pull.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import MAIN, Branch
from builderos.assets.repositories.service import (
    Arrival,
    Batch,
    Commit,
    Oid,
    Publication,
    Quarantine,
    RepositoryStore,
    Sight,
    decode_commit,
)
from builderos.core.actor import Actor, is_anonymous
from builderos.core.context import Context
from builderos.core.ids import new_id
from builderos.core.keys import ServerKeys
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Unit, as_system
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import RequestContext
from builderos.trust.vault import service as vault

from . import allowance, delivery, soundness
from .content import TreeFiles, tree_of
from .guarding import Looking, check_names, suspects_pushed
from .layout import layout_of
from .places import branch_resource
from .push_logs import check_logs
from .push_rules import Trees, check_commit, check_person, check_sizes, differing
from .pushed import TOOL, Pusher, changelog_entry, memory_items
from .upload import View
from .writing import EMAIL_DOMAIN, DiffStat, measure

_NONE: Final = "0" * 40
_COMMIT_BYTES: Final = 1 << 18
_COMPARED_BYTES: Final = 1 << 19
_COMPARED_FILES: Final = 500
_EVERYWHERE: Final = " of every commit that has it (git rebase -i)"


@dataclass(frozen=True)
class Command:
    """One ref a client wants to move; forty zeros stand for no commit."""

    old: str
    new: str
    ref: str


@dataclass(frozen=True)
class Checked:
    """A push that breaks no rule, as `accept` needs it.

    `base_sha`: the commit of main the branch stands on after it. `files`: paths that differ from there. `paths`: what
    it changed, without what it brought from main; `touched`: also what only a commit in between changed.
    """

    arrival: Arrival
    commits: Mapping[str, Commit]
    base_sha: str
    files: int
    paths: tuple[str, ...]
    stat: DiffStat
    after: TreeFiles
    shows_name: bool
    touched: tuple[str, ...]
    suspects: tuple[vault.Suspect, ...] = ()


def refusal(view: View, command: Command) -> Problem | None:
    """Why a command cannot be obeyed, as far as that is known without its objects; None where it can."""
    own = view.own
    if own is None or command.ref != own.ref:
        return _foreign(view, command.ref)
    if command.new == _NONE:
        return Problem(
            "forbidden_branch", "branches are not deleted by a push", hint="Archive the workspace instead."
        )
    if command.old != own.tip:
        return fetch_first(own)
    return None


def _foreign(view: View, ref: str) -> Problem:
    name = ref.removeprefix("refs/heads/")
    if ref.startswith("refs/heads/") and (
        name in (MAIN, view.repo.base_branch) or name.startswith("backup/")
    ):
        return Problem(
            "protected_branch", f"nobody pushes to {name}", hint="Push to your own branch, then promote it."
        )
    own = (
        f"Push to {view.own.name}: git push origin HEAD:{view.own.name}."
        if view.own
        else "Open a workspace first."
    )
    return Problem("forbidden_branch", "only your own branch takes pushes", hint=own)


def fetch_first(branch: Branch) -> Problem:
    """The branch is not where the client believes."""
    return Problem(
        "conflict", f"the branch {branch.name} has commits that you do not have",
        hint="Run git pull, then push again.", reason="fetch first",
    )  # fmt: skip


def check(context: Context, view: View, own: Branch, actor: Actor, room: Quarantine, new: str) -> Checked:
    """Hold what was sent against every rule; nothing is changed.

    Raises `invalid_path`, `payload_too_large`, `quota_exceeded`, `conflict`, `validation_failed`, `policy_denied`.
    """
    limits, store = context.get(Settings), context.get(RepositoryStore)
    visible = tuple(view.refs.values())
    arrival = repositories.examine(room, own.tip, new, visible, limits.max_commits_per_sandbox)
    sizes = list(repositories.blob_sizes(room, arrival.objects))
    in_main = view.main.store

    def held(oid: Oid) -> bool:
        return repositories.holds(store, in_main, oid)

    check_sizes(sizes, arrival.objects, limits.max_text_file, held)
    sight = room.open()
    batch = sight.batch()
    trees = Trees(batch, sight.size)
    main = tree_of(batch, view.main.tip)
    commits = _commits(sight, batch, arrival)
    touched: set[str] = set()
    for sha, commit in commits.items():
        touched.update(check_commit(trees, sha, commit, main, limits, actor.name))
        if is_anonymous(actor) and not limits.anonymous_names:
            check_person(sha, commit, own.name)
    check_names(touched)
    before = tuple(TreeFiles(batch, tree) for tree in (tree_of(batch, own.tip), main))
    kept = as_system(
        context, actor.org_id, lambda unit: unit.get(vault.Known).pair(unit).guarded, read_only=True
    )
    looking = Looking(batch, before, tuple(touched)[:_COMPARED_FILES], held, kept)
    suspects = suspects_pushed(context.get(ServerKeys), own.repo_id, sizes, arrival, commits, looking)
    return replace(
        _measured(view, own, arrival, commits, trees, sight, limits, touched), suspects=tuple(suspects)
    )


def _commits(sight: Sight, batch: Batch, arrival: Arrival) -> dict[str, Commit]:
    found: dict[str, Commit] = {}
    for sha in arrival.commits:
        if sight.size(bytes.fromhex(sha)) > _COMMIT_BYTES:
            raise Problem(
                "payload_too_large", f"the commit {sha[:10]} is larger than {_COMMIT_BYTES} bytes",
                hint="Shorten its message.", limit=_COMMIT_BYTES,
            )  # fmt: skip
        found[sha] = decode_commit(batch.read(bytes.fromhex(sha))[1])
    return found


def _measured(
    view: View,
    own: Branch,
    arrival: Arrival,
    commits: Mapping[str, Commit],
    trees: Trees,
    sight: Sight,
    limits: Settings,
    touched: set[str],
) -> Checked:
    batch = trees.batch
    before, after = TreeFiles(batch, tree_of(batch, own.tip)), TreeFiles(batch, tree_of(batch, arrival.new))
    check_logs(before, after, TreeFiles(batch, tree_of(batch, view.main.tip)))
    was = sight.merge_base(own.tip, view.main.tip) or own.base_sha
    base = sight.merge_base(arrival.new, view.main.tip) or own.base_sha
    base = own.base_sha if base == was else base
    references = [tree_of(batch, base), tree_of(batch, view.main.tip)]
    layout = layout_of(after)
    files = sum(not delivery.is_delivery(path, layout) for path in differing(trees, after.tree, references))
    paths: tuple[str, ...] = ()
    if files <= max(
        limits.max_files_per_sandbox, own.files
    ):  # else `accept` refuses it, however long we look at it
        news = _from_main(batch, tree_of(batch, was), tree_of(batch, base))
        changed = differing(trees, after.tree, [before.tree])
        paths = tuple(sorted(path for path in changed if not news(before, after, path)))
    stat = _stat(before, after, paths, sight)
    shows_name = _shows_name(batch, own.tip, commits)
    return Checked(
        arrival, commits, base, files, paths, stat, after, shows_name, tuple(sorted(touched.union(paths)))
    )


def _stat(before: TreeFiles, after: TreeFiles, paths: Iterable[str], sight: Sight) -> DiffStat:
    """The size of the change in lines. Large files are not compared: all their lines count, old and new."""
    small: dict[str, None] = {}
    files = added = deleted = 0
    for path in paths:
        sizes = [
            sight.size(e.oid) for e in (before.entry(path), after.entry(path)) if e is not None and e.is_file
        ]
        if sum(sizes) <= _COMPARED_BYTES:
            small[path] = None
            continue
        files += 1
        added += (after.read(path) or b"").count(b"\n")
        deleted += (before.read(path) or b"").count(b"\n")
    stat = measure(before, after, small)
    return DiffStat(files=stat.files + files, added=stat.added + added, deleted=stat.deleted + deleted)


def _from_main(batch: Batch, was: Oid, now: Oid) -> Callable[[TreeFiles, TreeFiles, str], bool]:
    """Tells what a merge of main brought: as main has it now, where the branch was as main had it before."""
    old, new = TreeFiles(batch, was), TreeFiles(batch, now)

    def from_main(before: TreeFiles, after: TreeFiles, path: str) -> bool:
        return was != now and after.entry(path) == new.entry(path) and before.entry(path) == old.entry(path)

    return from_main


def _shows_name(batch: Batch, tip: str, commits: Mapping[str, Commit]) -> bool:
    """Whether the commits carry an address that is neither a pseudonym of ours nor that of the commit before."""
    known = decode_commit(batch.read(bytes.fromhex(tip))[1]).author.email
    return any(
        not c.author.email.endswith(f"@{EMAIL_DOMAIN}") and c.author.email != known for c in commits.values()
    )


def accept(unit: Unit, own: Branch, checked: Checked, publication: Publication) -> str:
    """Move the branch: policy, quotas, ledger line and journal row in one transaction; returns what to tell the pusher.

    Raises `conflict` when the branch has moved meanwhile, `quota_exceeded`, and what the policy says.
    """
    branch = repositories.branch_by_id(unit, own.id, lock=True)
    decision = policy.require(
        unit, "git.push", branch_resource(unit, branch), RequestContext(paths=checked.touched)
    )
    if branch.tip != checked.arrival.old or branch.state != "active":
        raise fetch_first(branch)
    vault.refuse(unit, "git.push", branch_resource(unit, branch), checked.suspects, advice=_EVERYWHERE)
    allowance.take(unit, branch, commits=len(checked.commits), files=checked.files)
    warnings = _look_at_delivery_files(unit, branch, checked)
    lines = checked.stat.added + checked.stat.deleted
    if lines > unit.settings.large_diff_lines:
        notices.raise_alert(unit, "large_diff", branch.name, {"commit": checked.arrival.new, "lines": lines})
    if checked.base_sha != branch.base_sha:
        repositories.set_branch(unit, branch.id, base_sha=checked.base_sha)
    entry_id = _remember(unit, branch, checked)
    _move(unit, branch, checked, entry_id, publication, decision.rules)
    return _told(unit, branch, checked, warnings)


def _look_at_delivery_files(unit: Unit, branch: Branch, checked: Checked) -> list[str]:
    """Files that people edit may break; that is said and shown as an alert, and nothing is refused for it."""
    layout = layout_of(checked.after)
    if not any(delivery.is_delivery(path, layout) for path in checked.paths):
        return []
    found = soundness.issues_in(checked.after, layout)
    warnings = [f"{issue.path}:{issue.line}: {issue.message}" for issue in found if issue.level == "broken"][
        :20
    ]
    if warnings:
        notices.raise_alert(unit, "memory_invalid", branch.name, {"issues": warnings})
    return warnings


def _remember(unit: Unit, branch: Branch, checked: Checked) -> str | None:
    """Leave changelog entry and memory items for the server's next own commit; the entry's id."""
    if not checked.commits:  # the branch only caught up with main
        return None
    by, id_ = Pusher(unit.actor.name, unit.now), new_id("chg")
    entry = changelog_entry(by, id_, branch, checked.commits, checked.paths)
    memory = memory_items(by, checked.after, checked.paths, layout_of(checked.after))
    repositories.add_pending(unit, branch, checked.arrival.new, entry, memory)
    return id_


def _move(
    unit: Unit, branch: Branch, checked: Checked, entry_id: str | None, publication: Publication, rules: tuple[str, ...]
) -> None:  # fmt: skip
    payload: dict[str, Any] = {
        "repo": branch.repo_name, "repo_id": branch.repo_id, "branch": branch.name, "old": branch.tip,
        "commits": list(checked.commits), "paths": list(checked.paths), "stat": checked.stat.model_dump(), "tool": TOOL,
        "base": checked.base_sha, "entry": entry_id,
    }  # fmt: skip
    line = ledger.compose(unit, "push", checked.arrival.new, payload, rules=rules)
    repositories.give_packs(unit, branch, publication.packs())
    publication.publish()
    try:
        repositories.advance(
            unit, branch, checked.arrival.new, b"", ledger_line=line, commits=len(checked.commits),
            files=checked.files, pending=branch.pending + bool(checked.commits),
        )  # fmt: skip
    except BaseException:
        publication.retract()
        raise
    unit.after_commit(publication.release)


def _told(unit: Unit, branch: Branch, checked: Checked, warnings: list[str]) -> str:
    count = len(checked.commits)
    what = f"Saved {count} commit{'s' if count != 1 else ''} to" if count else "Brought main into"
    lines = [f"{what} branch {branch.name} of {branch.repo_name}."]
    if branch.commits == 0 and unit.actor.role == "sandbox":
        lines.append("Keep your token: it is the only way back into this workspace.")
    if warnings:
        lines += ["Some project files cannot be read now:", *warnings]
    if checked.shows_name and is_anonymous(unit.actor):
        address = f"{branch.name}@{EMAIL_DOMAIN}"
        lines += [
            "Your commits show the name and address of your git configuration to everybody who can read this branch.",
            f"To stay anonymous: git config user.name {branch.name} && git config user.email {address}",
        ]
    return "\n".join(lines)
