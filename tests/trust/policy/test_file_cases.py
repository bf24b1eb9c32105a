"""The decision order of a policy file: the table in `cases.txt`, and a plain model that must agree with Cedar."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builderos.trust.policy.document import Document, FileRule, Scope
from builderos.trust.policy.file_policy import Asked, FilePolicy
from builderos.trust.policy.merging import Scene

TABLE = Path(__file__).with_name("cases.txt").read_text("utf-8")


def rule_of(line: str) -> FileRule:
    _, id_, scope, effect, kind, *patterns = line.split()
    parts = dict(part.split("=") for part in scope.split(",")) if scope != "org" else {}
    lists = {kind: tuple(p for text in patterns for p in text.split(","))}
    return FileRule(
        id_, 1, Scope(**parts), lists if effect == "allow" else {}, lists if effect == "deny" else {}
    )  # type: ignore[arg-type]


def cases() -> Iterator[tuple[str, tuple[FileRule, ...], str]]:
    for block in re.split(r"^== ", TABLE, flags=re.MULTILINE)[1:]:
        title, *lines = block.splitlines()
        rules = tuple(rule_of(line) for line in lines if line.startswith("rule "))
        for line in lines:
            if line and not line.startswith("rule "):
                yield title, rules, line


CASES = list(cases())


def name(text: str) -> str | None:
    return None if text == "-" else text


@pytest.mark.parametrize(("title", "rules", "line"), CASES, ids=[f"{c[0]}: {c[2]}" for c in CASES])
def test_a_file_decides_as_the_table_says(title: str, rules: tuple[FileRule, ...], line: str) -> None:
    act, _, wanted = line.partition(" : ")
    agent, project, branch, tool, paths = act.split()
    asked = Asked("files.write", tool, () if paths == "-" else tuple(paths.split(",")))
    no = FilePolicy(Document(rules)).judge(asked, Scene(agent, name(project), name(branch)))
    assert ("+" if no is None else no.rules[0]) == wanted.strip()


# ---- a plain model of SPEC §8, with another matcher ------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "ab", "ba"])
PATTERNS = st.sampled_from(["a", "b", "*", "a*", "*a", "a*b", "*a*"])
PATHS = st.sampled_from(["a", "b", "a/b", "a/a/b", "b/a"])
PATH_PATTERNS = st.sampled_from(["a", "*", "**", "a/**", "**/b", "*/b", "**/a/**", "a/*/b"])
LISTS = st.fixed_dictionaries(
    {},
    optional={
        "tools": st.lists(PATTERNS, max_size=2).map(tuple),
        "branches": st.lists(PATTERNS, max_size=2).map(tuple),
        "paths": st.lists(PATH_PATTERNS, max_size=2).map(tuple),
        "network": st.lists(PATTERNS, max_size=2).map(tuple),
        "environments": st.lists(PATTERNS, max_size=2).map(tuple),
    },
)
MAYBE = st.none() | PATTERNS
SCOPES = st.builds(Scope, agent=MAYBE, environment=MAYBE, branch=MAYBE, project=MAYBE)
RULES = st.lists(st.tuples(SCOPES, LISTS, LISTS), max_size=5).map(
    lambda found: tuple(FileRule(f"r{n}", n, *parts) for n, parts in enumerate(found))
)
SCENES = st.builds(Scene, NAMES, st.none() | NAMES, st.none() | NAMES, st.none() | NAMES, st.none() | NAMES)
ASKED = st.builds(
    Asked, st.sampled_from(["files.write", "files.read"]), NAMES, st.lists(PATHS, max_size=3).map(tuple),
    st.just("") | NAMES,
)  # fmt: skip


def like(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return like(pattern[1:], text) or (bool(text) and like(pattern, text[1:]))
    return bool(text) and text[0] == pattern[0] and like(pattern[1:], text[1:])


def glob(pattern: list[str], path: list[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        below = bool(path) and glob(pattern, path[1:])
        return (
            below or (len(pattern) > 1 and glob(pattern[1:], path)) or (len(pattern) == 1 and len(path) >= 1)
        )
    return bool(path) and like(pattern[0], path[0]) and glob(pattern[1:], path[1:])


def in_scope(scope: Scope, scene: Scene) -> bool:
    parts = ("agent", "environment", "branch", "project")
    names = {part: [getattr(scene, part)] for part in parts}
    names["project"].append(scene.home)  # a repository goes by its own name and by that of its project
    return all(
        getattr(scope, part) is None
        or any(name is not None and like(getattr(scope, part), name) for name in names[part])
        for part in parts
    )


def rank(scope: Scope) -> int:
    if scope.agent is not None:
        return 3
    if scope.environment is not None or scope.branch is not None:
        return 2
    return 1 if scope.project is not None else 0


def values(kind: str, asked: Asked, scene: Scene) -> list[list[str]]:
    """Each thing that has to be allowed, with all its names."""
    if kind == "paths":
        return [[path] for path in asked.paths] if asked.action == "files.write" else []
    if kind == "tools":
        return [[asked.tool, asked.action]]
    one = {"branches": scene.branch, "network": asked.host, "environments": scene.environment}[kind]
    return [[one]] if one else []


def hit(kind: str, pattern: str, names: list[str]) -> bool:
    if kind == "paths":
        return glob(pattern.split("/"), names[0].split("/"))
    return any(like(pattern, each) for each in names)


def model(rules: tuple[FileRule, ...], asked: Asked, scene: Scene) -> bool:
    """Whether the act is allowed: SPEC §8 word by word."""
    fit = [rule for rule in rules if in_scope(rule.scope, scene)]
    for rule in fit:
        for kind, patterns in rule.deny.items():
            if any(hit(kind, p, names) for p in patterns for names in values(kind, asked, scene)):
                return False
    for kind in ("tools", "branches", "paths", "network", "environments"):
        having = [rule for rule in fit if kind in rule.allow]
        if not having and kind != "network":
            continue
        top = max((rank(rule.scope) for rule in having), default=0)
        listed = [p for rule in having if rank(rule.scope) == top for p in rule.allow[kind]]  # type: ignore[index]
        if not all(any(hit(kind, p, names) for p in listed) for names in values(kind, asked, scene)):
            return False
    return True


@settings(max_examples=400, deadline=None)
@given(RULES, ASKED, SCENES)
def test_cedar_and_a_plain_model_of_the_order_agree(
    rules: tuple[FileRule, ...], asked: Asked, scene: Scene
) -> None:
    assert (FilePolicy(Document(rules)).judge(asked, scene) is None) == model(rules, asked, scene)


@settings(max_examples=100, deadline=None)
@given(RULES, ASKED, SCENES)
def test_one_more_deny_never_allows_more(rules: tuple[FileRule, ...], asked: Asked, scene: Scene) -> None:
    more = FileRule("more", 99, Scope(), {}, {"tools": ("a*",), "paths": ("a/**",)})
    with_it = FilePolicy(Document((*rules, more))).judge(asked, scene)
    assert with_it is not None or FilePolicy(Document(rules)).judge(asked, scene) is None


def test_an_error_of_the_evaluation_denies() -> None:
    no = FilePolicy(Document()).judge(Asked("files.write", "\ud800"), Scene("me"))
    assert no is not None
    assert no.rules == ("error",)


def test_what_replaces_a_policy_cannot_be_denied_by_one() -> None:
    lock = FilePolicy(Document((FileRule("lock", 1, Scope(), {"tools": ()}, {"tools": ("*",)}),)))
    for action in ("policy.write", "policy.explain", "approval.decide", "approval.read", "tools.list"):
        assert lock.judge(Asked(action, "proposePolicy"), Scene("owner")) is None
    assert lock.judge(Asked("files.read", "fetchFiles"), Scene("owner")) is not None


def test_a_large_file_compiles_and_decides() -> None:
    rules = tuple(
        FileRule(f"r{n}", n, Scope(), {}, {"tools": tuple(f"t{n}-{i}*" for i in range(200))})
        for n in range(60)
    )
    file = FilePolicy(Document(rules))
    assert file.judge(Asked("files.write", "t59-199x"), Scene("me")) is not None
    assert file.judge(Asked("files.write", "other"), Scene("me")) is None
