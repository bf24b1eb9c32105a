"""A policy file in force: asked after the shipped rules have allowed an act, and able only to say no to it."""

import logging
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

import cedarpy
import orjson

from .compiling import ATTRIBUTES, CHANGES, Compiled, compile_rules
from .document import Document, FileRule, Scope
from .loading import ERROR, NO_MATCH, Rule, check_rules, parse_policies, parse_schema
from .merging import Merged, Scene, fits, merge

_ERROR_HINT: Final = "The policy file could not be applied to this request; the server's log says why."
_COMPILED: Final = 256
_ANSWERS: Final = 4096
_SIGNATURES: Final = 8192
# A file that has gone wrong must not lock out those who can replace it, nor hide what a caller may do at all.
EXEMPT: Final = frozenset(
    {"approval.decide", "approval.read", "policy.explain", "policy.write", "tools.list"}
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """One act as a policy file sees it. Empty names: the act has no such thing."""

    action: str
    tool: str = ""
    paths: tuple[str, ...] = ()
    host: str = ""
    secret: str = ""


@dataclass(frozen=True, slots=True)
class No:
    """Why the file denies: the deciding rules, the first one with its hint."""

    rules: tuple[str, ...]
    hint: str


class Narrowed:
    """The rules that count in one kind of scene, as Cedar handles."""

    def __init__(self, merged: Merged, schema: cedarpy.Schema) -> None:
        self.merged = merged
        self.compiled: Compiled = compile_rules(merged)
        policies = parse_policies(self.compiled.cedar)
        self._by_name: dict[str, Rule] = check_rules(self.compiled.cedar, policies, schema)
        self._set = cedarpy.PolicySet.from_str(self.compiled.cedar)
        self._schema = schema
        # Two branches (hosts, secrets, …) that fit the same patterns get the same answer: thousands of them share few.
        self._signature = lru_cache(maxsize=_SIGNATURES)(self._signature_uncached)
        self._answers: dict[tuple[object, ...], No | None] = {}

    def judge(self, asked: Asked, scene: Scene) -> No | None:
        """None where nothing is in the way."""
        hits = self.compiled.hits(asked.paths) if asked.action in CHANGES else ()
        told = (scene.branch or "", scene.environment or "", asked.host.lower(), asked.secret)
        key = (asked.action, asked.tool, hits, self._signature(told))
        try:
            return self._answers[key]
        except KeyError:
            found = self._ask(asked.action, asked.tool, hits, told)
        if len(self._answers) >= _ANSWERS:
            self._answers.clear()
        self._answers[key] = found
        return found

    def _signature_uncached(self, told: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
        """For each name whether there is one, and which of the patterns that the rules have for it fit."""
        return tuple(
            (bool(name), *self.compiled.names[kind].which(name))
            for kind, name in zip(ATTRIBUTES, told, strict=True)
        )

    def _ask(self, action: str, tool: str, hits: tuple[str, ...], told: tuple[str, ...]) -> No | None:
        context: dict[str, object] = {"action": action, "tool": tool, "hits": hits}
        context |= {name: value for name, value in zip(ATTRIBUTES.values(), told, strict=True) if value}
        try:
            result = cedarpy.is_authorized(  # pyright: ignore[reportUnknownMemberType] - bare dicts
                {
                    "principal": {"type": "Caller", "id": "caller"},
                    "action": {"type": "Action", "id": "act"},
                    "resource": {"type": "Place", "id": "place"},
                    "context": orjson.dumps(context).decode(),
                },
                self._set, "[]", self._schema,
            )  # fmt: skip
        except (orjson.JSONEncodeError, ValueError) as error:
            _log.error("the policy file could not be applied to %s: %r", action, error)
            return No((ERROR,), _ERROR_HINT)
        if result.diagnostics.errors or result.decision is cedarpy.Decision.NoDecision:
            _log.error("the policy file could not be applied to %s: %s", action, result.diagnostics.errors)
            return No((ERROR,), _ERROR_HINT)
        if result.decision is cedarpy.Decision.Allow:
            return None
        rules = sorted((self._by_name[name] for name in result.diagnostics.reasons), key=lambda r: r.order)
        return No(tuple(dict.fromkeys(map(_shown, rules))), rules[0].hint)


class FilePolicy:
    """A document compiled on demand; safe to share between threads."""

    def __init__(self, document: Document) -> None:
        self.document = document
        text = (files("builderos.trust.policy") / "file.cedarschema").read_text("utf-8")
        self._schema = parse_schema(text)
        self._by_scope: dict[Scope, list[int]] = {}
        for number, rule in enumerate(document.rules):
            self._by_scope.setdefault(rule.scope, []).append(number)
        # Thousands of branches share few combinations of rules: scenes are looked up, combinations are compiled.
        self._fitting = lru_cache(maxsize=8192)(self._fitting_uncached)
        self._narrowed = lru_cache(maxsize=_COMPILED)(self._compile)

    def in_scene(self, scene: Scene) -> Narrowed:
        """What counts in a scene."""
        return self._narrowed(self._fitting(scene))

    def judge(self, asked: Asked, scene: Scene) -> No | None:
        """Whether the file denies the act; an error denies."""
        if asked.action in EXEMPT:
            return None
        return self.in_scene(scene).judge(asked, scene)

    def compile_all(self) -> None:
        """Compile every rule, together and with the others of its level away; raises `validation_failed`."""
        everything = tuple(range(len(self.document.rules)))
        self._narrowed(everything)
        for number in everything:
            self._compile((number,))

    def _fitting_uncached(self, scene: Scene) -> tuple[int, ...]:
        fit = [numbers for scope, numbers in self._by_scope.items() if fits(scope, scene)]
        return tuple(sorted(number for numbers in fit for number in numbers))

    def _compile(self, numbers: tuple[int, ...]) -> Narrowed:
        rules: tuple[FileRule, ...] = tuple(self.document.rules[number] for number in numbers)
        return Narrowed(merge(rules), self._schema)


def _shown(rule: Rule) -> str:
    """A rule's own id; what no allow matched has one name for all kinds (SPEC §8)."""
    return NO_MATCH if rule.id.startswith(f"{NO_MATCH}:") else rule.id
