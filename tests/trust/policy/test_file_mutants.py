"""Small faults planted into the code that matches, merges, compiles and decides: table and model must notice them."""

import ast
import copy
import importlib
import os
import random
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from builderos.trust.policy import globs
from builderos.trust.policy.document import FileRule, Scope

from . import test_file_cases as order
from . import test_globs as patterns

PACKAGE = "builderos.trust.policy"
CHAIN = ("globs", "merging", "compiling", "file_policy")  # each imports only what stands before it, of these
SOURCE = {name: Path(globs.__file__).with_name(f"{name}.py").read_text("utf-8") for name in CHAIN}
SWAPS: dict[type, type] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.Gt: ast.GtE, ast.LtE: ast.Lt, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add,
}  # fmt: skip
NAMES = {"any": "all", "all": "any", "startswith": "endswith", "endswith": "startswith", "True": "False"}
# Nothing about the decision: sizes of caches and what is only faster with them, words for people and logs.
EQUIVALENT = re.compile(
    r"maxsize|_ANSWERS|_SIGNATURES|_COMPILED|_log|_HINT|hint|\[:200\]|self\._answers|isascii|compile_all|everything\)\)"
    r"|for number in everything|_THING|this (branch|environment|host|secret|tool)|these paths|_any is None"
    r"|re\.DOTALL|middle if group|suspects|any_denied"  # one look at all patterns before each is looked at
    r"|endswith\(\"/\"\)|if rule\.deny\)|if conditions:|if patterns\]"  # else: other words, or a rule denying nothing
    r"|NoDecision"  # the compiled rules hold nothing whose evaluation could fail
)


def slots(tree: ast.AST) -> Iterator[tuple[ast.AST, Callable[[ast.AST], None], str]]:
    """Every place where one small thing can be changed: the node, what changes its copy, and the name of the change."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            yield node, lambda n: n.ops.__setitem__(0, SWAPS[type(n.ops[0])]()), "compare"  # type: ignore[attr-defined]
        if isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in SWAPS:
            yield node, lambda n: setattr(n, "op", SWAPS[type(n.op)]()), "operator"  # type: ignore[attr-defined]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield (
                node,
                lambda n: setattr(n, "op", ast.UAdd()) or setattr(n, "operand", _bool(n.operand)),
                "not",
            )  # type: ignore[attr-defined]
        if isinstance(node, ast.If | ast.IfExp):
            for value in (True, False):
                yield node, lambda n, v=value: setattr(n, "test", ast.Constant(v)), f"if {value}"  # type: ignore[misc]
        if isinstance(node, ast.Name) and node.id in NAMES:
            yield node, lambda n: setattr(n, "id", NAMES[n.id]), "name"  # type: ignore[attr-defined]
        if isinstance(node, ast.Attribute) and node.attr in NAMES:
            yield node, lambda n: setattr(n, "attr", NAMES[n.attr]), "attribute"  # type: ignore[attr-defined]
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, int)
            and not isinstance(node.value, bool)
        ):
            yield node, lambda n: setattr(n, "value", n.value + 1), "number"  # type: ignore[attr-defined]
        if isinstance(node, ast.comprehension) and node.ifs:
            yield node, lambda n: setattr(n, "ifs", []), "filter"


def _bool(node: ast.expr) -> ast.expr:
    return ast.Call(ast.Name("bool", ast.Load()), [node], [])


def mutants() -> list[tuple[str, int, str, ast.Module]]:
    """(module, line, what was changed, the changed tree); what cannot matter is left out by its line."""
    found: list[tuple[str, int, str, ast.Module]] = []
    for name in CHAIN:
        lines = SOURCE[name].splitlines()
        count = len(list(slots(ast.parse(SOURCE[name]))))
        for number in range(count):
            tree = copy.deepcopy(ast.parse(SOURCE[name]))
            node, change, what = list(slots(tree))[number]
            line = getattr(node, "lineno", None) or node.iter.lineno  # type: ignore[attr-defined]
            if EQUIVALENT.search(lines[line - 1]):
                continue
            change(node)
            found.append((name, line, what, ast.fix_missing_locations(tree)))
    return found


@contextmanager
def planted(name: str, tree: ast.Module) -> Iterator[dict[str, ModuleType]]:
    """The modules anew, one of them changed; everything is as before afterwards."""
    kept = {f"{PACKAGE}.{each}": sys.modules[f"{PACKAGE}.{each}"] for each in CHAIN}
    made: dict[str, ModuleType] = {}
    try:
        for each in CHAIN:
            module = ModuleType(f"{PACKAGE}.{each}")
            module.__package__ = PACKAGE
            sys.modules[module.__name__] = made[each] = module
            code = tree if each == name else ast.parse(SOURCE[each])
            exec(compile(code, f"<{each}>", "exec"), module.__dict__)
        yield made
    finally:
        sys.modules.update(kept)


def random_cases(count: int) -> list[tuple[tuple[FileRule, ...], dict[str, object], dict[str, object], bool]]:
    """Files and questions by a fixed seed, with what the plain model says."""
    dice = random.Random(11)
    names, stars = ["a", "b", "ab", "ba"], ["a", "b", "*", "a*", "*a", "a*b", "*a*"]
    globs_, paths = (
        ["a", "*", "**", "a/**", "**/b", "*/b", "**/a/**", "a/*/b"],
        ["a", "b", "a/b", "a/a/b", "b/a"],
    )

    def lists() -> dict[str, tuple[str, ...]]:
        kinds = dice.sample(
            ["tools", "branches", "paths", "network", "environments"], dice.choice([0, 0, 1, 2])
        )
        return {
            k: tuple(dice.sample(globs_ if k == "paths" else stars, dice.choice([0, 1, 2]))) for k in kinds
        }

    def scope() -> Scope:
        return Scope(**{
            p: dice.choice(stars) for p in ("agent", "environment", "branch", "project") if dice.random() < 0.25
        })  # fmt: skip

    found = []
    for _ in range(count):
        rules = tuple(FileRule(f"r{n}", n, scope(), lists(), lists()) for n in range(dice.randint(1, 4)))  # type: ignore[arg-type]
        asked = {
            "action": dice.choice(["files.write", "files.write", "files.read"]), "tool": dice.choice(names),
            "paths": tuple(dice.sample(paths, dice.randint(0, 2))), "host": dice.choice(["", *names]),
        }  # fmt: skip
        scene = {"agent": dice.choice(names)} | {
            part: dice.choice([None, *names]) for part in ("project", "branch", "environment", "home")
        }
        wanted = order.model(rules, order.Asked(**asked), order.Scene(**scene))  # type: ignore[arg-type]
        found.append((rules, asked, scene, wanted))
    return found


RANDOM = random_cases(150)
FITS = [
    (pattern, path, fits)
    for mark in patterns.test_a_path_pattern_fits_exactly_these.pytestmark  # type: ignore[attr-defined]
    for pattern, yes, no in mark.args[1]
    for fits, listed in ((True, yes), (False, no))
    for path in listed.split()
]
NAMED = [("a*a", "a", False), ("a*a", "aa", True), ("*ab*ab*", "ab", False), ("*ab*ab*", "abab", True),
         ("a*", "ab", True), ("a", "ab", False), ("*a*b", "xab", True), ("*b*a", "ab", False)]  # fmt: skip
FAULTY = [
    p for mark in patterns.test_what_could_be_meant_otherwise_is_refused.pytestmark for p in mark.args[1]
]  # type: ignore[attr-defined]


def is_noticed(modules: dict[str, ModuleType]) -> bool:
    return _globs_differ(modules["globs"]) or _table_differs(modules) or _model_differs(modules)


def _globs_differ(found: ModuleType) -> bool:
    folded = found.PathPatterns(["**/Café/.env"], folded=True)
    exact = found.PathPatterns(["**/Café/.env"], folded=False)
    return (
        any(
            found.path_fault(p) != "" or found.PathPatterns([p], folded=False).match(t) != f
            for p, t, f in FITS
        )
        or any(found.path_fault(pattern) == "" for pattern in FAULTY)
        or found.path_fault("x" * 256) != ""
        or found.name_fault("sandbox-*") != ""
        or any(found.name_fault(bad) == "" for bad in ("", "a b", "x" * 129))
        or not folded.match("x/CAFE\u0301/.ENV")
        or not exact.match("x/Café/.env")
        or found.PathPatterns(["a"], folded=False).match("A")
        or any(
            found.matches_name(p, t) != f or found.NamePatterns([p]).which(t) != (0,) * f for p, t, f in NAMED
        )
        or exact.match("x/CAFÉ/.env")
        or found.host_fault("Api.example.com") != ""
        or found.host_fault("a." * 125 + "bc") != ""
        or any(
            found.host_fault(bad) == ""
            for bad in ("a.b:1", "1.2.3.4", "localhost", "a.bc.", "a." * 126 + "bc")
        )
        or found.NamePatterns(["a*", "b*", "*b"]).which("ab") != (0, 2)
    )


def _table_differs(modules: dict[str, ModuleType]) -> bool:
    file_policy, merging = modules["file_policy"], modules["merging"]
    files = {title: file_policy.FilePolicy(order.Document(rules)) for title, rules, _ in order.CASES}
    for title, _, line in order.CASES:  # one file answers all its lines, as in a server: answers are shared
        act, _, wanted = line.partition(" : ")
        agent, project, branch, tool, paths = act.split()
        asked = file_policy.Asked("files.write", tool, () if paths == "-" else tuple(paths.split(",")))
        scene = merging.Scene(agent, order.name(project), order.name(branch))
        no = files[title].judge(asked, scene)
        if ("+" if no is None else no.rules[0]) != wanted.strip():
            return True
    lock = file_policy.FilePolicy(
        order.Document((FileRule("lock", 1, Scope(), {"tools": ()}, {"tools": ("*",)}),))
    )
    here = merging.Scene("me")
    open_ = [lock.judge(file_policy.Asked(action), here) for action in file_policy.EXEMPT]
    broken = file_policy.FilePolicy(order.Document()).judge(file_policy.Asked("files.write", "\ud800"), here)
    lab, stage, scene = Scope(project="lab"), Scope(environment="stage"), merging.Scene
    fits = [
        merging.fits(lab, scene("me", "shop", home="lab")), merging.fits(lab, scene("me", "lab", home="x")),
        not merging.fits(lab, scene("me", "shop", home="x")), not merging.fits(lab, scene("me", "shop")),
        merging.fits(stage, scene("me", environment="staging")),
        not merging.fits(stage, scene("me", environment="stag")),
    ]  # fmt: skip
    if not all(fits):
        return True
    return any(open_) or lock.judge(file_policy.Asked("files.read"), here) is None or broken is None


def _model_differs(modules: dict[str, ModuleType]) -> bool:
    file_policy, merging = modules["file_policy"], modules["merging"]
    for rules, asked, scene, wanted in RANDOM:
        no = file_policy.FilePolicy(order.Document(rules)).judge(
            file_policy.Asked(**asked), merging.Scene(**scene)
        )
        if (no is None) != wanted:
            return True
    return False


def notices(name: str, tree: ast.Module) -> bool:
    """A fault that raises anything is noticed as well."""
    try:
        with planted(name, tree) as modules:
            return is_noticed(modules)
    except Exception:
        return True


def test_the_unchanged_code_is_not_accused() -> None:
    with planted("globs", ast.parse(SOURCE["globs"])) as modules:
        assert not is_noticed(modules)
    assert importlib.import_module(f"{PACKAGE}.globs") is globs


@pytest.mark.soak
def test_planted_faults_are_noticed() -> None:
    tried = mutants()
    assert len(tried) >= 80
    whole = bool(os.environ.get("BUILDEROS_SOAK"))
    if not whole:
        tried = random.Random("".join(SOURCE.values())).sample(tried, 12)  # the same code: the same sample
    survivors = [
        f"{name}:{line} {what}: {SOURCE[name].splitlines()[line - 1].strip()}"
        for name, line, what, tree in tried
        if not notices(name, tree)
    ]
    allowed = len(tried) * 0.05 if whole else 2
    assert len(survivors) <= allowed, "\n".join([f"{len(survivors)} of {len(tried)} survived", *survivors])
