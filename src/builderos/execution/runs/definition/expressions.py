"""Conditions of pipelines: a small language without side effects, loops or access to anything but its arguments.

    test     := test "or" test | test "and" test | "not" test | value [op value] | "(" test ")"
    op       := "==" "!=" "<" "<=" ">" ">=" "in" "not in"
    value    := 'text' | number | true | false | null | "[" values "]" | name | function "(" values ")"
    name     := params.NAME | matrix.NAME | run.NAME | steps.ID.status | steps.ID.reason | steps.ID.outputs.NAME
    function := success() failure() always() contains(a, b) starts_with(a, b) ends_with(a, b) length(a)

`steps['gen-api']` is another spelling of a name. The text is read by Python's own parser into its syntax tree, and
only the parts above are taken over; nothing is compiled or run. A parsed expression is plain JSON, so that a run can
keep it: `["==", ["status", ["test"]], ["value", "failed"]]`.
"""

import ast
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .schema import Expression, Value

MAX_CHARS: Final = 1_000
_MAX_DEPTH: Final = 30
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}\Z")
_WORDS: Final[Mapping[str, Value]] = {"true": True, "false": False, "null": None}
_OPS: Final[Mapping[type[ast.cmpop], str]] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
_FUNCTIONS: Final[Mapping[str, int]] = {
    "success": 0, "failure": 0, "always": 0, "contains": 2, "starts_with": 2, "ends_with": 2, "length": 1,
}  # fmt: skip
_OF_STATUS: Final = frozenset({"success", "failure", "always"})
_PLAIN_ROOTS: Final = {"params": "param", "matrix": "matrix", "run": "fact"}
FACTS: Final = ("id", "branch", "trigger", "pipeline", "project")
BAD: Final = ("failed", "timed_out", "denied", "cancelled")
_GOOD: Final = ("succeeded", "cached", "skipped")


class Unreadable(Exception):
    """An expression that says nothing: `column` counts from 0 inside it."""

    def __init__(self, message: str, hint: str, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.column = column


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a node. `reason` of a skipped one: `condition` when its own was false, `needs` when something
    it needs had failed. `goes_on`: its failure is not one for those that need it (`on_fail: continue`).
    """

    status: str
    outputs: Mapping[str, Value] = field(default_factory=dict[str, Value])
    reason: str | None = None
    goes_on: bool = False

    @property
    def blocks(self) -> bool:
        """Whether what needs it must not start on its own."""
        if self.status == "skipped":
            return self.reason == "needs"
        return self.status in BAD and not self.goes_on


def read(text: str) -> Expression:
    """Parse one expression. Raises `Unreadable`."""
    if len(text) > MAX_CHARS:
        raise Unreadable(f"longer than {MAX_CHARS} characters", "Let a step decide, and ask for its output.")
    if "\\" in text or not text.isprintable():
        raise Unreadable("backslashes and line breaks mean nothing here", "Write one plain line.")
    before = len(text) - len(text.lstrip())
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        return _Translation().of(tree, 0)
    except Unreadable as error:
        raise Unreadable(error.message, error.hint, error.column + before) from None
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        column = max(0, (getattr(error, "offset", None) or 1) - 1)
        raise Unreadable("this is no condition", _hint_of(text), column + before) from None


def _hint_of(text: str) -> str:
    if any(sign in text for sign in ("&&", "||", "!")) and "!=" not in text:
        return "Write and, or, not."
    if re.search(r"[^=!<>]=[^=]", text):
        return "Compare with ==."
    return "Write for example steps.test.status == 'failed'."


class _Translation:
    """From Python's syntax tree to ours: what is not listed in the grammar is refused."""

    def of(self, node: ast.expr, depth: int) -> Expression:
        if depth > _MAX_DEPTH:
            raise Unreadable("nested too deeply", "Make it simpler.", node.col_offset)
        match node:
            case ast.BoolOp():
                word = "and" if isinstance(node.op, ast.And) else "or"
                return [word, *(self.of(value, depth + 1) for value in node.values)]
            case ast.UnaryOp(op=ast.Not()):
                return ["not", self.of(node.operand, depth + 1)]
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return ["value", -value]
            case ast.Compare(ops=[op], comparators=[right]) if type(op) in _OPS:
                return [_OPS[type(op)], self.of(node.left, depth + 1), self.of(right, depth + 1)]
            case ast.List():
                return ["list", *(self.of(item, depth + 1) for item in node.elts)]
            case ast.Constant():
                return ["value", self._constant(node)]
            case ast.Call(func=ast.Name(id=name), keywords=[]):
                return self._call(node, name, depth)
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self._name(node)
            case ast.BinOp(op=ast.Sub()):
                hint = "A name with a hyphen is written steps['gen-api']."
                raise Unreadable("nothing can be subtracted here", hint, node.col_offset)
            case ast.Compare():
                raise Unreadable("one comparison at a time", "Join them with and.", node.col_offset)
            case _:
                raise Unreadable("this is not part of the language", _hint_of(""), node.col_offset)

    def _constant(self, node: ast.Constant) -> Value:
        value: Any = node.value
        if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
            if isinstance(value, float) and not -1e300 < value < 1e300:
                raise Unreadable("too large a number", "Write a smaller one.", node.col_offset)
            if isinstance(value, int) and value >= 2**63:
                raise Unreadable("too large a number", "Write a smaller one.", node.col_offset)
            return value
        raise Unreadable("not a value of this language", "Write true, false or null.", node.col_offset)

    def _call(self, node: ast.Call, name: str, depth: int) -> Expression:
        wanted = _FUNCTIONS.get(name)
        if wanted is None:
            known = ", ".join(_FUNCTIONS)
            raise Unreadable(f"no function {name[:40]!r}", f"Known functions: {known}.", node.col_offset)
        if len(node.args) != wanted:
            said = f"{name} takes {wanted} values"
            raise Unreadable(said, f"Give it {wanted}.", node.col_offset)
        return ["call", name, *(self.of(item, depth + 1) for item in node.args)]

    def _name(self, node: ast.expr) -> Expression:
        parts = self._parts(node)
        root, *rest = parts
        if not rest and root in _WORDS:
            return ["value", _WORDS[root]]
        if root in _PLAIN_ROOTS and len(rest) == 1:
            if root == "run" and rest[0] not in FACTS:
                hint = f"Known: {', '.join(f'run.{name}' for name in FACTS)}."
                raise Unreadable(f"no run.{rest[0][:40]}", hint, node.col_offset)
            return [_PLAIN_ROOTS[root], rest[0]]
        if root == "steps" and len(rest) == 2 and rest[1] in ("status", "reason"):
            return [rest[1], [rest[0]]]
        if root == "steps" and len(rest) == 3 and rest[1] == "outputs":
            return ["output", [rest[0]], rest[2]]
        hint = "Names begin with params, matrix, run or steps: params.x, steps.test.status, steps.test.outputs.x."
        raise Unreadable(f"{'.'.join(parts)[:80]} means nothing", hint, node.col_offset)

    def _parts(self, node: ast.expr) -> list[str]:
        parts: list[str] = []
        inner: ast.expr = node
        for _ in range(5):
            match inner:
                case ast.Name(id=name):
                    return [name, *reversed(parts)]
                case ast.Attribute(value=value, attr=name):
                    parts.append(name)
                    inner = value
                case ast.Subscript(value=value, slice=ast.Constant(value=str() as name)) if _NAME.match(name):
                    parts.append(name)
                    inner = value
                case _:
                    break
        raise Unreadable("not a name", "Write for example steps.test.status.", node.col_offset)


def walk(expression: Expression) -> Iterator[Expression]:
    """The expression and all its parts."""
    yield expression
    if expression[0] not in _LEAVES:
        for part in expression[1:]:
            if isinstance(part, list):
                yield from walk(part)  # pyright: ignore[reportUnknownArgumentType]


_LEAVES: Final = frozenset(
    {"value", "param", "matrix", "fact", "status", "reason", "output", "success", "failure"}
)


def replace(expression: Expression, by: Callable[[Expression], Expression]) -> Expression:
    """The same expression with `by` applied to every leaf."""
    if expression[0] in _LEAVES:
        return by(expression)
    return [replace(part, by) if isinstance(part, list) else part for part in expression]  # pyright: ignore[reportUnknownArgumentType]


def asks_for_status(expression: Expression) -> bool:
    """Whether it says itself what shall happen after a failure."""
    return any(
        part[0] in ("success", "failure") or (part[0] == "call" and part[1] in _OF_STATUS)
        for part in walk(expression)
    )


def steps_of(expression: Expression) -> Iterator[str]:
    """The steps that it names."""
    for part in walk(expression):
        if part[0] in ("status", "reason", "output"):
            yield from part[1]


def about(expression: Expression, needs: Collection[str]) -> Expression:
    """The same with `success()`, `failure()` and `always()` saying which nodes they are about."""
    match expression:
        case ["call", "success" | "failure" as name]:
            return [name, list(needs)]
        case ["call", "always"]:
            return ["value", True]
        case [head, *parts] if head not in _LEAVES:
            return [head, *(about(part, needs) if isinstance(part, list) else part for part in parts)]  # pyright: ignore[reportUnknownArgumentType]
        case _:
            return expression


def is_settled(expression: Expression) -> bool:
    """Whether it can be evaluated before anything has run."""
    return not asks_for_status(expression) and all(
        part[0] == "value" or part[0] not in _LEAVES for part in walk(expression)
    )


def evaluate(expression: Expression, results: Mapping[str, Result]) -> Value:
    """The value. Values of different kinds are never equal; what has no order is neither less nor greater."""
    match expression:
        case ["value", value]:
            return value
        case ["list", *items]:
            return [evaluate(item, results) for item in items]
        case ["and", *tests]:
            return all(truth(evaluate(test, results)) for test in tests)
        case ["or", *tests]:
            return any(truth(evaluate(test, results)) for test in tests)
        case ["not", test]:
            return not truth(evaluate(test, results))
        case ["status", nodes]:
            return _status([results.get(node) for node in nodes])
        case ["reason", nodes]:
            return next((r.reason for r in _of(nodes, results) if r.reason is not None), None)
        case ["output", nodes, name]:
            values = [result.outputs.get(name) for result in _of(nodes, results)]
            return values if len(nodes) > 1 else next(iter(values), None)
        case ["success" | "failure" as name, nodes]:
            return any(result.blocks for result in _of(nodes, results)) == (name == "failure")
        case ["call", name, *arguments]:
            return _called(name, [evaluate(item, results) for item in arguments])
        case [op, left, right] if op in _COMPARE:
            return _COMPARE[op](evaluate(left, results), evaluate(right, results))
        case _:  # a name that has no value in this run
            return None


def _of(nodes: Collection[str], results: Mapping[str, Result]) -> list[Result]:
    return [results[node] for node in nodes if node in results]


def _status(results: list[Result | None]) -> str:
    """Of many: the worst; what has not ended comes before what has ended well."""
    found = [result.status if result else "pending" for result in results]
    bad = [status for status in BAD if status in found]
    open_ = [status for status in found if status not in _GOOD and status not in BAD]
    good = [status for status in _GOOD if status in found]
    return (bad + open_ + good + ["pending"])[0]


def truth(value: Value) -> bool:
    """null, false, 0, '' and [] are not true."""
    return bool(value)


def _kind(value: Value) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _equal(left: Value, right: Value) -> bool:
    return _kind(left) == _kind(right) and left == right


def _ordered(left: Value, right: Value) -> bool:
    return _kind(left) == _kind(right) and _kind(left) in ("number", "str")


def _within(item: Value, whole: Value) -> bool:
    if isinstance(whole, str):
        return isinstance(item, str) and item in whole
    return isinstance(whole, list) and any(_equal(item, other) for other in whole)  # pyright: ignore[reportUnknownVariableType]


_COMPARE: Final[Mapping[str, Callable[[Value, Value], bool]]] = {
    "==": _equal,
    "!=": lambda a, b: not _equal(a, b),
    "<": lambda a, b: _ordered(a, b) and a < b,
    "<=": lambda a, b: _ordered(a, b) and a <= b,
    ">": lambda a, b: _ordered(a, b) and a > b,
    ">=": lambda a, b: _ordered(a, b) and a >= b,
    "in": _within,
    "not in": lambda a, b: not _within(a, b),
}


def _called(name: str, given: list[Value]) -> Value:
    if name == "length":
        return len(given[0]) if isinstance(given[0], str | list) else 0  # pyright: ignore[reportUnknownArgumentType]
    whole, part = given
    if name == "contains":
        return _within(part, whole)
    if not isinstance(whole, str) or not isinstance(part, str):
        return False
    return whole.startswith(part) if name == "starts_with" else whole.endswith(part)
