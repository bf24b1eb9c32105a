"""What a new policy file would change: in what was decided lately, and over every combination its patterns speak of."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice, product
from typing import Annotated, Any, Final

from pydantic import Field

from builderos.core.schema import In, Out
from builderos.core.unit import Unit
from builderos.trust.identity.service import roles
from builderos.trust.ledger import service as ledger

from .actions import ACTIONS
from .asking import rules_for
from .compiling import CHANGES
from .decision import OUTWARD
from .document import Document, FileRule
from .file_policy import EXEMPT, Asked, FilePolicy
from .merging import Scene
from .proposing import Content

MAX_LINES: Final = 5000
MAX_CELLS: Final = 20_000
MAX_SHOWN: Final = 200
_PAGE: Final = 500
_STRANGER: Final = "anybody"
# Lines of the record that tell of one act on a branch, and the act that was asked for then.
_ACTION_OF: Final = {
    "commit": "files.write", "promotion.opened": "git.promote", "push": "git.push", "reset": "sandbox.reset",
    "restore": "backup.restore", "rollback": "git.rollback", "scaffold": "sandbox.scaffold",
}  # fmt: skip


class CompareIn(In):
    """A policy file to compare with the one in force."""

    content: Content
    days: Annotated[int, Field(description="How far back the record is looked through.", ge=1, le=90)] = 7


class Change(Out):
    """An act that the two files decide differently. `seq`: its line in the record, where it happened."""

    agent: str
    action: str
    tool: str
    project: str | None
    branch: str | None
    paths: list[str]
    host: str = ""
    secret: str = ""
    before: str
    after: str
    seq: int | None = None
    at: str | None = None


class Comparison(Out):
    """Differences: in the record, and over agents × actions × branches × paths that the files speak of.

    Lists show the first 200, the second one an instance of each sort; the counts are of all. `complete`: nothing was
    left out for its size.
    """

    lines: int
    changed_lines: int
    recorded: list[Change]
    cells: int
    changed_cells: int
    possible: list[Change]
    complete: bool


def compare(unit: Unit, body: CompareIn) -> Comparison:
    """Decide again what was decided lately, and everything the files speak of, by both files."""
    old = rules_for(unit, None).file or FilePolicy(Document())
    new = rules_for(unit, body.content).file or FilePolicy(Document())
    recorded, lines = _recorded(unit, old, new, body.days)
    possible, cells, whole = _possible(old, new)
    return Comparison(
        lines=lines, changed_lines=len(recorded), recorded=recorded[:MAX_SHOWN], cells=cells,
        changed_cells=len(possible), possible=_alike(possible)[:MAX_SHOWN], complete=whole and lines < MAX_LINES,
    )  # fmt: skip


def _recorded(unit: Unit, old: FilePolicy, new: FilePolicy, days: int) -> tuple[list[Change], int]:
    since = unit.now - timedelta(days=days)
    found: list[Change] = []
    count = 0
    homes = roles.homes(unit)  # as repositories lie now: the record has their names alone
    for line in islice(_lines(unit, ledger.Wanted(since=since)), MAX_LINES):
        count += 1
        payload: dict[str, Any] = line["payload"]
        action = payload.get("action") if line["type"] == "refused" else _ACTION_OF.get(line["type"])
        if action is None or line["role"] == "system":
            continue
        tool = str(payload.get("tool") or "").partition("@")[0]
        asked = Asked(action, tool, tuple(payload.get("paths") or ()))
        repo, branch = payload.get("repo"), payload.get("target") or payload.get("branch")
        scene = Scene(line["actor_name"], repo, branch, payload.get("environment"), homes.get(repo or ""))
        change = _change(old, new, asked, scene)
        if change is not None:
            found.append(change.model_copy(update={"seq": line["seq"], "at": line["at"]}))
    return found, count


def _lines(unit: Unit, wanted: ledger.Wanted) -> Iterator[dict[str, Any]]:
    before: int | None = None
    while page := ledger.search(unit, wanted, before=before, limit=_PAGE):
        yield from page
        before = page[-1]["seq"]


def _possible(old: FilePolicy, new: FilePolicy) -> tuple[list[Change], int, bool]:
    """Both files over one instance of every pattern that either has, and over a stranger of each sort."""
    rules = (*old.document.rules, *new.document.rules)
    actions = [action for action in ACTIONS if action not in EXEMPT | OUTWARD]
    agents = _instances(rule.scope.agent for rule in rules)
    projects = _instances(rule.scope.project for rule in rules)
    branches = _instances(p for rule in rules for p in (rule.scope.branch, *_of(rule, "branches")))
    tools = _instances(p for rule in rules for p in _of(rule, "tools"))
    paths = [_path(p) for rule in rules for p in _of(rule, "paths")] + ["anything.txt"]
    hosts = [Asked("network.reach", host=h) for h in _instances(p for r in rules for p in _of(r, "network"))]
    secrets = [Asked("secret.use", secret=s) for s in _instances(p for r in rules for p in _of(r, "secrets"))]
    acts = [
        Asked(action, tool, (path,) if action in CHANGES else ())
        for action, tool, path in product(actions, tools, dict.fromkeys(paths))
        if action in CHANGES or path == "anything.txt"
    ]
    found: list[Change] = []
    cells = 0
    for agent, project, branch, asked in product(agents, projects, branches, (*hosts, *secrets, *acts)):
        if cells == MAX_CELLS:
            return found, cells, False
        cells += 1
        change = _change(old, new, asked, Scene(agent, project, branch))
        if change is not None:
            found.append(change)
    return found, cells, True


def _change(old: FilePolicy, new: FilePolicy, asked: Asked, scene: Scene) -> Change | None:
    before, after = old.judge(asked, scene), new.judge(asked, scene)
    if (before is None) == (after is None):
        return None
    return Change(
        agent=scene.agent, action=asked.action, tool=asked.tool, project=scene.project, branch=scene.branch,
        paths=list(asked.paths)[:20], host=asked.host, secret=asked.secret,
        before="allow" if before is None else f"deny ({', '.join(before.rules)})",
        after="allow" if after is None else f"deny ({', '.join(after.rules)})",
    )  # fmt: skip


def _alike(changes: list[Change]) -> list[Change]:
    """One of all changes that differ in project, branch and tool alone."""
    found: dict[tuple[object, ...], Change] = {}
    for c in changes:
        found.setdefault((c.agent, c.action, tuple(c.paths), c.host, c.secret, c.before, c.after), c)
    return list(found.values())


def _of(rule: FileRule, kind: Any) -> tuple[str, ...]:
    return (*rule.allow.get(kind, ()), *rule.deny.get(kind, ()))


def _instances(patterns: Iterator[str | None]) -> list[str]:
    """A name for each pattern, and one that only `*` fits."""
    names = (pattern.replace("*", "x") for pattern in patterns if pattern is not None)
    return list(dict.fromkeys([*names, _STRANGER]))


def _path(pattern: str) -> str:
    return pattern.replace("**", "a/b").replace("*", "x").replace("?", "q")
