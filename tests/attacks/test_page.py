"""The page on security names every case and every test of it, and no test that is not there."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "technical" / "security.md"
CASES = range(1, 26)


def written() -> dict[int, set[str]]:
    """Case → names of its tests, as the tests say it themselves; 0: of no case."""
    found: dict[int, set[str]] = {}
    for file in HERE.glob("test_*.py"):
        if file == Path(__file__):
            continue
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                case = re.match(r"Case (\d+)", ast.get_docstring(node) or "")
                sentence = node.name.removeprefix("test_").replace("_", " ")
                found.setdefault(int(case[1]) if case else 0, set()).add(sentence)
    return found


def test_every_case_has_a_test_and_a_row_that_names_it() -> None:
    page = PAGE.read_text("utf-8")
    rows = {int(n): set(re.findall(r"`\w+`: ([^<|]+?)(?=<br>| \|)", text))
            for n, text in re.findall(r"^\| (\d+) \|(.*)$", page, re.MULTILINE)}  # fmt: skip
    tests = written()
    assert set(rows) == set(CASES)
    assert {case: tests.get(case, set()) for case in CASES} == rows
    assert set(re.findall(r"^- ([a-z][^`\n]+)$", page.partition("Beside them:")[2], re.MULTILINE)) == tests[0]
