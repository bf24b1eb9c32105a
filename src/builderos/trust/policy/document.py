"""`builderos.policy.yaml` as read: strict, with the line of every mistake (SPEC §8)."""

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import yaml

from builderos.core.problems import Problem
from builderos.core.yamlnodes import Enough, Issue, Reader

from .globs import name_fault, path_fault
from .loading import ERROR, NO_MATCH

Kind = Literal["branches", "environments", "network", "paths", "secrets", "tools"]
Level = Literal["org", "project", "environment", "agent"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
CLOSED: Final[frozenset[Kind]] = frozenset({"network", "secrets"})  # denied as long as no rule allows any
LEVELS: Final[tuple[Level, ...]] = get_args(Level)  # from the widest to the most specific
APPROVERS: Final = ("Owner", "Admin", "Reviewer")
# Actions that wait for an approval on this server, by the names that a file may use.
ASKED_FOR: Final = frozenset(
    {
        "command.run_weak",
        "deploy.prod",
        "git.push_main",
        "git.release",
        "policy.activate",
        "prompt.promote",
        "pull.merge",
    }
)
TOOL: Final = (
    "tool."  # an agent's tool, e.g. tool.run_shell; tool.verb is any verb, tool.mcp whatever a server offers
)
FILE_NAME: Final = "builderos.policy.yaml"
MAX_RULES: Final = 500
MAX_PATTERNS: Final = 200
_ID: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}\Z")
_ACTION: Final = re.compile(r"[a-z_]{1,40}\.[a-z_]{1,40}\Z")
_SPAN: Final = re.compile(r"([1-9][0-9]{0,3})([mhd])\Z")
_RATE: Final = re.compile(r"([1-9][0-9]{0,6})/min\Z")
_MINUTES: Final = {"m": 1, "h": 60, "d": 1440}
_MAX_MINUTES: Final = 90 * 1440
_NAMED: Final = "only hosts, secrets and deployments are asked for in a named environment"
_TOP: Final = ("version", "rules", "approvals", "limits", "prbot", "push_protection")
_SCOPE: Final = ("agent", "environment", "branch", "project", "org")


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a rule holds: patterns for names; None: everywhere. All that are given must fit."""

    agent: str | None = None
    environment: str | None = None
    branch: str | None = None
    project: str | None = None

    @property
    def level(self) -> Level:
        """How specific it is: its most specific part counts. A branch is as specific as an environment."""
        if self.agent is not None:
            return "agent"
        if self.environment is not None or self.branch is not None:
            return "environment"
        return "project" if self.project is not None else "org"


@dataclass(frozen=True, slots=True)
class FileRule:
    """One rule: patterns by kind, for what it allows and what it denies."""

    id: str
    line: int
    scope: Scope
    allow: Mapping[Kind, tuple[str, ...]]
    deny: Mapping[Kind, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """Who approves which actions, how many of them, and for how many minutes the request stays open."""

    id: str
    line: int
    actions: tuple[str, ...]
    approvers: tuple[str, ...]
    count: int
    minutes: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts of a sandbox, days until an unused one expires, calls in a minute; None: as the server's settings say.

    `cpu_seconds`: processor time that commands of runs may use in a month.
    """

    files: int | None = None
    commits: int | None = None
    days: int | None = None
    per_token: int | None = None
    per_org: int | None = None
    cpu_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class PushLists:
    """Where push protection looks away: in files that a path pattern fits, at values that a name pattern fits."""

    paths: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A policy file without mistakes. `notes` say what in it has no effect on this server."""

    rules: tuple[FileRule, ...] = ()
    approvals: tuple[ApprovalRule, ...] = ()
    limits: Limits = Limits()
    prbot_enabled: bool | None = None
    prbot_lines: int | None = None
    push: PushLists = PushLists()
    notes: tuple[Issue, ...] = field(default=())


def read_document(text: str, name: str = FILE_NAME) -> Document:
    """The policy that a text says; raises `validation_failed` with `issues`, one for each mistake with its line."""
    reader = _DocumentReader()
    document = Document()
    with contextlib.suppress(Enough):  # the mistakes that were noted are told
        document = reader.read(text)
    if reader.issues:
        issues = sorted(reader.issues, key=lambda issue: issue.line)
        first = issues[0]
        more = f" ({len(issues) - 1} more)" if len(issues) > 1 else ""
        raise Problem(
            "validation_failed", f"{name}:{first}{more}",
            hint=first.hint or "Correct the file; the policy in force stays as it is.",
            issues=[{"line": i.line, "path": i.path, "problem": i.message, "hint": i.hint} for i in issues[:50]],
        )  # fmt: skip
    return document


class _DocumentReader(Reader):
    def __init__(self) -> None:
        super().__init__()
        self._notes: list[Issue] = []
        self._ids: set[str] = {NO_MATCH, ERROR}

    def read(self, text: str) -> Document:
        root = self.document(text)
        if root is None:
            if not self.issues:
                self.fault(1, "", "the file is empty", "Begin with version: 1.")
            return Document()
        top = self.mapping(root, "", _TOP, required=("version",))
        if "version" in top and self.number(top["version"], "version", 1, 1) is None:
            self.issues[-1] = Issue(self.issues[-1].line, "version", "unknown version", "Write version: 1.")
        rules = [self._rule(n, p) for n, p in self._list(top, "rules")]
        approvals = [self._approval(n, p) for n, p in self._list(top, "approvals")]
        enabled, lines = self._prbot(top.get("prbot"))
        return Document(
            tuple(r for r in rules if r is not None), tuple(a for a in approvals if a is not None),
            self._limits(top.get("limits")), enabled, lines, self._push(top.get("push_protection")), tuple(self._notes),
        )  # fmt: skip

    def _list(self, top: Mapping[str, yaml.Node], name: str) -> list[tuple[yaml.Node, str]]:
        return list(self.items(top[name], name, MAX_RULES)) if name in top else []

    def _rule(self, node: yaml.Node, path: str) -> FileRule | None:
        keys = self.mapping(node, path, ("id", "scope", "allow", "deny"), required=("id",))
        id_ = self._identity(keys, path)
        scope = self._scope(keys["scope"], f"{path}.scope") if "scope" in keys else Scope()
        allow = self._kinds(keys["allow"], f"{path}.allow") if "allow" in keys else {}
        deny = self._kinds(keys["deny"], f"{path}.deny") if "deny" in keys else {}
        if keys and "allow" not in keys and "deny" not in keys:
            self.fault(node, path, "the rule neither allows nor denies", "Add allow or deny.")
        if id_ is None or scope is None:
            return None
        return FileRule(id_, node.start_mark.line + 1, scope, allow, deny)

    def _identity(self, keys: Mapping[str, yaml.Node], path: str) -> str | None:
        node = keys.get("id")
        value = self.text(node, f"{path}.id") if node is not None else None
        if node is None or value is None:
            return None
        if not _ID.match(value):
            self.fault(node, f"{path}.id", "not an id", "Use small letters, digits, - _ and ., at most 63.")
            return None
        if value in self._ids:
            self.fault(node, f"{path}.id", f"{value} is reserved or used twice", "Give each rule its own id.")
            return None
        self._ids.add(value)
        return value

    def _scope(self, node: yaml.Node, path: str) -> Scope | None:
        found: dict[str, str] = {}
        before = len(self.issues)
        for name, value in self.mapping(node, path, _SCOPE).items():
            text = self._name(value, f"{path}.{name}")
            if text is not None and name == "org" and text != "*":
                self.fault(
                    value,
                    f"{path}.org",
                    "a policy belongs to one organisation",
                    'Write "*", or leave it out.',
                )
            elif text is not None and name != "org":
                found[name] = text
        if "environment" in found:
            self._note(node, f"{path}.environment", _NAMED)
        return Scope(**found) if len(self.issues) == before else None

    def _kinds(self, node: yaml.Node, path: str) -> dict[Kind, tuple[str, ...]]:
        given = self.mapping(node, path, KINDS)
        if isinstance(node, yaml.MappingNode) and not node.value:
            self.fault(node, path, "nothing is listed", f"Name one of: {', '.join(KINDS)}.")
        found: dict[Kind, tuple[str, ...]] = {}
        for kind in KINDS:
            if kind in given:
                found[kind] = self._patterns(given[kind], f"{path}.{kind}", kind)
                if kind == "environments":
                    self._note(given[kind], f"{path}.{kind}", _NAMED)
        return found

    def _patterns(self, node: yaml.Node, path: str, kind: Kind) -> tuple[str, ...]:
        read = self._path if kind == "paths" else self._name
        found = [read(item, where) for item, where in self.items(node, path, MAX_PATTERNS)]
        texts = tuple(dict.fromkeys(text for text in found if text is not None))
        return tuple(text.lower() for text in texts) if kind == "network" else texts

    def _name(self, node: yaml.Node, path: str) -> str | None:
        return self._sound(node, path, name_fault)

    def _path(self, node: yaml.Node, path: str) -> str | None:
        return self._sound(node, path, path_fault)

    def _sound(self, node: yaml.Node, path: str, fault: Callable[[str], str]) -> str | None:
        text = self.text(node, path)
        why = fault(text) if text is not None else ""
        if why:
            self.fault(node, path, f"{text!r} is not a usable pattern", f"{why[0].upper()}{why[1:]}.")
            return None
        return text

    def _approval(self, node: yaml.Node, path: str) -> ApprovalRule | None:
        keys = self.mapping(node, path, ("id", "when", "from", "count", "expires"), required=("id", "when"))
        id_ = self._identity(keys, path)
        actions = self._when(keys["when"], f"{path}.when") if "when" in keys else ()
        roles = self._roles(keys["from"], f"{path}.from") if "from" in keys else APPROVERS
        count = self.number(keys["count"], f"{path}.count", 1, 10) if "count" in keys else 1
        minutes = self._span(keys["expires"], f"{path}.expires") if "expires" in keys else 1440
        if id_ is None or count is None or minutes is None:
            return None
        return ApprovalRule(id_, node.start_mark.line + 1, actions, roles, count, minutes)

    def _when(self, node: yaml.Node, path: str) -> tuple[str, ...]:
        keys = self.mapping(node, path, ("action",), required=("action",))
        found: list[str] = []
        for item, where in self.items(keys["action"], f"{path}.action", 50) if "action" in keys else ():
            text = self.text(item, where)
            if text is not None and not _ACTION.match(text):
                self.fault(item, where, f"{text!r} is not an action", "Write for example git.push_main.")
            elif text is not None:
                found.append(text)
                if text not in ASKED_FOR and not text.startswith(TOOL):
                    self._note(item, where, f"nothing asks for an approval of {text} yet")
        return tuple(found)

    def _roles(self, node: yaml.Node, path: str) -> tuple[str, ...]:
        found: list[str] = []
        for item, where in self.items(node, path, len(APPROVERS)):
            text = self.text(item, where)
            if text is not None and text not in APPROVERS:
                self.fault(item, where, f"{text!r} cannot approve", f"Known: {', '.join(APPROVERS)}.")
            elif text is not None:
                found.append(text)
        if not found:
            self.fault(node, path, "nobody could approve", f"Known: {', '.join(APPROVERS)}.")
        return tuple(dict.fromkeys(found))

    def _span(self, node: yaml.Node, path: str) -> int | None:
        text = self.text(node, path)
        found = _SPAN.match(text) if text is not None else None
        minutes = int(found[1]) * _MINUTES[found[2]] if found else 0
        if text is not None and not 1 <= minutes <= _MAX_MINUTES:
            self.fault(node, path, f"{text!r} is not a time of at most 90 days", "Write 30m, 24h or 7d.")
        return minutes or None

    def _limits(self, node: yaml.Node | None) -> Limits:
        if node is None:
            return Limits()
        keys = self.mapping(node, "limits", ("sandbox", "rate", "budget"))
        counts: dict[str, int | None] = {}
        if "sandbox" in keys:
            for name, value in self.mapping(
                keys["sandbox"], "limits.sandbox", ("files", "commits", "days")
            ).items():
                counts[name] = self.number(value, f"limits.sandbox.{name}", 1, 1_000_000)
        if "rate" in keys:
            for name, value in self.mapping(keys["rate"], "limits.rate", ("per_token", "per_org")).items():
                counts[name] = self._rate(value, f"limits.rate.{name}")
        if "budget" in keys:
            for name, value in self.mapping(keys["budget"], "limits.budget", ("cpu_seconds",)).items():
                counts[name] = self.number(value, f"limits.budget.{name}", 1, 100_000_000)
        return Limits(**counts)

    def _rate(self, node: yaml.Node, path: str) -> int | None:
        text = self.text(node, path)
        found = _RATE.match(text) if text is not None else None
        if text is not None and found is None:
            self.fault(node, path, f"{text!r} is not a rate", "Write 60/min.")
        return int(found[1]) if found else None

    def _prbot(self, node: yaml.Node | None) -> tuple[bool | None, int | None]:
        keys = self.mapping(node, "prbot", ("enabled", "max_lines")) if node is not None else {}
        enabled = self.switch(keys["enabled"], "prbot.enabled") if "enabled" in keys else None
        lines = self.number(keys["max_lines"], "prbot.max_lines", 0, 100) if "max_lines" in keys else None
        return enabled, lines

    def _push(self, node: yaml.Node | None) -> PushLists:
        path = "push_protection"
        keys = self.mapping(node, path, ("ignore_paths", "ignore_values")) if node is not None else {}

        def listed(name: str, kind: Kind) -> tuple[str, ...]:
            return self._patterns(keys[name], f"{path}.{name}", kind) if name in keys else ()

        return PushLists(listed("ignore_paths", "paths"), listed("ignore_values", "secrets"))

    def _note(self, node: yaml.Node, path: str, message: str) -> None:
        self._notes.append(Issue(node.start_mark.line + 1, path, message, ""))
