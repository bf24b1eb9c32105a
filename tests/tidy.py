"""What test_tidy.py looks for: a rule reads one parsed file and yields where it is broken, with a measure or line."""

import ast
import functools
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
Finding = tuple[str, int]  # where, measure (or line number)
Rule = Callable[[ast.Module], Iterable[Finding]]

FUNCTION_LINES = 60
FILE_LINES, FILE_LINES_HARD = 400, 600
NESTING = 3

# ---------------------------------------------------------------- what is read


def tracked(*suffixes: str) -> list[Path]:
    """Files that are or could be committed, with one of these suffixes (all of them when none is given)."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    paths = {ROOT / name for name in names if name}
    return sorted(p for p in paths if p.is_file() and (not suffixes or p.suffix in suffixes))


@functools.cache
def findings() -> dict[str, list[tuple[str, Finding]]]:
    """Where our Python breaks which rule: each file is parsed once for all of them, and its tree kept by nobody."""
    found: dict[str, list[tuple[str, Finding]]] = {rule.__name__: [] for rule in RULES}
    for path in tracked(".py"):
        name = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text("utf-8"), name)
        for rule in RULES:
            found[rule.__name__] += ((name, finding) for finding in rule(tree))
    return found


def broken(rule: Rule, *folders: str) -> list[tuple[str, Finding]]:
    """What a rule finds under these folders."""
    below = tuple(folder + "/" for folder in folders)
    return [(name, finding) for name, finding in findings()[rule.__name__] if name.startswith(below)]


Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """What stands right below a node, without its expressions: no block and no function is in one."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield child


def functions(
    node: ast.AST, prefix: str = "", owner: ast.AST | None = None
) -> Iterator[tuple[str, Function, ast.AST | None]]:
    """Every function with its dotted name and the class or function it stands in."""
    for child in statements(node):
        if isinstance(child, FUNCTIONS):
            yield prefix + child.name, child, owner
        named = isinstance(child, (*FUNCTIONS, ast.ClassDef))
        yield from functions(child, f"{prefix}{child.name}." if named else prefix, child if named else owner)


@functools.lru_cache(maxsize=1)
def nodes_of(tree: ast.Module) -> list[ast.AST]:
    """All nodes of a file; one rule after the other asks for those of the same one."""
    return list(ast.walk(tree))


def name_of(node: ast.AST) -> str:
    """`sa.text` for that expression; the last names of anything longer; empty when there is none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}".lstrip(".")
    return name_of(node.func) if isinstance(node, ast.Call) else ""


# ---------------------------------------------------------------- the rules


def function_lines(tree: ast.Module) -> Iterator[Finding]:
    for name, node, _ in functions(tree):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES:
            yield name, lines


_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)


def depth(node: ast.AST, level: int = 0) -> int:
    """The deepest block in `node`; an `elif` stands beside its `if`, a nested function is measured on its own."""
    deepest = level
    for child in statements(node):
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            continue
        is_elif = isinstance(child, ast.If) and isinstance(node, ast.If) and node.orelse == [child]
        deepest = max(deepest, depth(child, level + (isinstance(child, _BLOCKS) and not is_elif)))
    return deepest


def nesting(tree: ast.Module) -> Iterator[Finding]:
    for name, node, _ in functions(tree):
        if (found := depth(node)) > NESTING:
            yield name, found


def ends_of_transactions(tree: ast.Module) -> Iterator[Finding]:
    """`x.commit()` and `x.rollback()`: bare, they end a transaction; a verb of that name takes a unit."""
    for node in nodes_of(tree):
        bare = isinstance(node, ast.Call) and not node.args and not node.keywords
        if bare and isinstance(node.func, ast.Attribute) and node.func.attr in {"commit", "rollback"}:
            yield name_of(node.func), node.lineno


def async_functions(tree: ast.Module) -> Iterator[Finding]:
    for name, node, _ in functions(tree):
        if isinstance(node, ast.AsyncFunctionDef):
            yield name, node.lineno


_RUNS_SQL = {"execute", "executemany", "stream", "scalar", "scalars", "copy"}
_RAW_SQL = {"exec_driver_sql", "literal_column", "sql.SQL", "sql.Composed"}
_HARMLESS = re.compile(
    r"\s*select\s+(?:1|(?:[\w*,\s]+\s+from\s+)?\w+\.\w+\((?:%s|::\w+(?:\[\])?|[\s,])*\))\s*\Z|GET\Z",  # of HTTP
    re.IGNORECASE,
)


def raw_sql(tree: ast.Module) -> Iterator[Finding]:
    """SQL as text, except `select 1` and a call of one database function (whose text is in migrations/)."""
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    texts = {
        alias.asname or alias.name
        for node in nodes_of(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sqlalchemy"
        for alias in node.names
        if alias.name in {"text", "literal_column", "TextClause"}
    }
    for node in (node for node in nodes_of(tree) if isinstance(node, ast.Call)):
        name = name_of(node.func)
        if name in texts | {"sa.text", "sqlalchemy.text"} or any(name.endswith(raw) for raw in _RAW_SQL):
            yield name, node.lineno
        elif name.rpartition(".")[2] in _RUNS_SQL and node.args and is_raw(node.args[0], constants):
            yield name, node.lineno


def is_raw(statement: ast.expr, constants: dict[str, ast.expr]) -> bool:
    if isinstance(statement, ast.Name):
        statement = constants.get(statement.id, statement)
    if isinstance(statement, ast.Constant) and isinstance(statement.value, str):
        return _HARMLESS.match(statement.value) is None
    return isinstance(statement, ast.JoinedStr | ast.BinOp)


def stubs(tree: ast.Module) -> Iterator[Finding]:
    for node in nodes_of(tree):
        if (
            isinstance(node, ast.Raise)
            and node.exc is not None
            and name_of(node.exc) == "NotImplementedError"
        ):
            yield "raise NotImplementedError", node.lineno
    for name, node, owner in functions(tree):
        if all(is_nothing(statement) for statement in node.body) and not is_declaration(node, owner):
            yield f"{name} has no body", node.lineno


def is_nothing(statement: ast.stmt) -> bool:
    """A docstring, `...` or `pass`."""
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def is_declaration(node: Function, owner: ast.AST | None) -> bool:
    """A method of a Protocol, an abstract method, an overload, a group of commands: the body is somebody else's."""
    bases = owner.bases if isinstance(owner, ast.ClassDef) else []
    marks = {name_of(mark).rpartition(".")[2] for mark in node.decorator_list}
    protocol = any(
        name_of(base.value if isinstance(base, ast.Subscript) else base).endswith("Protocol")
        for base in bases
    )
    return protocol or bool(marks & {"abstractmethod", "overload", "group"})


def long_sleeps(tree: ast.Module) -> Iterator[Finding]:
    for node in nodes_of(tree):
        if isinstance(node, ast.Call) and name_of(node.func) in {
            "time.sleep",
            "sleep",
            "asyncio.sleep",
            "anyio.sleep",
        }:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, int | float) and first.value >= 1:
                yield name_of(node.func), node.lineno


RULES: tuple[Rule, ...] = (
    function_lines, nesting, ends_of_transactions, async_functions, raw_sql, stubs, long_sleeps,
)  # fmt: skip

# Words of a line of text. The patterns are written so that they do not match themselves.
UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|X[X]X|HAC[K])\b")
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:root|work|farm|Users/\w+|home/(?!you\b|me\b|user\b)\w+)/\w")
REGISTRY = re.compile(
    r"\b(?:pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|registry\.yarnpkg|crates\.io|deb\.debian\.org)"
)


def lines_with(pattern: re.Pattern[str], text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        if match := pattern.search(line):
            yield match[0], number
