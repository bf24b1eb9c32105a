"""The documentation is true: every example runs, every reference is complete, every link leads somewhere."""

import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from builderos import app as root
from builderos.assets.workspaces import delivery
from builderos.core.problems import STATUS
from builderos.core.settings import Settings
from builderos.interfaces.cli.catalogue import ENTRIES
from scripts import reference
from tests.support import pages
from tests.support.databases import Databases
from tests.support.pages import ROOT, Served
from tests.support.world import UNLIMITED

DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, ROOT / "ARCHITECTURE.md", *sorted(DOCS.rglob("*.md"))]
RUNNABLE = [page for page in PAGES if pages.examples(page) and page != README]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LIMITS = {f"BUILDEROS_{name.upper()}": str(value) for name, value in UNLIMITED.items()}


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def server(databases: Databases, fast_folder: Path) -> Iterator[Served]:
    """A server that already has the repository `lab`, as after the README."""
    home = fast_folder / f"d{uuid.uuid4().hex[:8]}"
    with (
        databases.fresh() as database,
        pages.served(home, database, **_LIMITS, BUILDEROS_ENGINE="false") as it,
    ):
        folder = fast_folder / f"r{uuid.uuid4().hex[:8]}"
        reader = it.reader(folder)
        command = ["builderos", "repo", "import", ".", "--name", "lab"]
        subprocess.run(command, cwd=folder / "project", env=reader, check=True, capture_output=True)
        yield it
        shutil.rmtree(folder)
    shutil.rmtree(home)


@pytest.fixture
def folder(fast_folder: Path) -> Iterator[Path]:
    """A reader's own folder."""
    path = fast_folder / f"p{uuid.uuid4().hex[:8]}"
    yield path
    shutil.rmtree(path, ignore_errors=True)


def _curl(folder: Path, *, stand_in: bool) -> Path | None:
    """A folder with our own curl, where the machine has none or the test asks for it."""
    if shutil.which("curl") and not stand_in:
        return None
    bin_ = folder / "bin"
    bin_.mkdir(parents=True)
    shutil.copy(ROOT / "tests/support/curl.py", bin_ / "curl")
    (bin_ / "curl").chmod(0o755)
    return bin_


def test_the_readme_does_what_it_says(databases: Databases, fast_folder: Path, folder: Path) -> None:
    home = fast_folder / f"d{uuid.uuid4().hex[:8]}"
    with databases.fresh() as database, pages.served(home, database, BUILDEROS_ENGINE="false") as it:
        reader = it.reader(folder, curl=_curl(folder, stand_in=False), started=True)
        for variable in ("URL", "JSON"):  # the page itself has to set what it uses
            del reader[variable]
        pages.run(README, folder / "project", it.url, reader)
    shutil.rmtree(home)


def test_the_stand_in_for_curl_does_what_the_pages_need(server: Served, folder: Path) -> None:
    reader = server.reader(folder, curl=_curl(folder, stand_in=True))
    pages.run(DOCS / "technical" / "tokens.md", folder / "project", server.url, reader)


@pytest.mark.parametrize("page", RUNNABLE, ids=_name)
def test_every_example_of_a_page_runs_and_prints_what_the_page_shows(
    page: Path, server: Served, folder: Path
) -> None:
    pages.run(page, folder / "project", server.url, server.reader(folder, curl=_curl(folder, stand_in=False)))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_block_is_an_example_that_is_checked(page: Path) -> None:
    fences = page.read_text("utf-8").count("```")
    found = pages.blocks(page)
    assert fences == 2 * len(found), "a fence is indented or not closed"
    for block in found:
        kind = f"{block.language} {block.info}".strip()
        assert kind in ("sh", "sh make", "json", "text", "text drawing") or kind.startswith("yaml "), (
            f"line {block.line}: {kind}"
        )


def test_the_commands_of_make_exist() -> None:
    lines = [line for page in PAGES for block in pages.blocks(page) if block.info == "make"
             for line in block.text.splitlines() if line]  # fmt: skip
    assert {"make demo", "make test", "make up"} <= {line.partition("  #")[0] for line in lines}
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line.replace("make", "make -n", 1)], cwd=ROOT, capture_output=True, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stderr.decode()}"


def test_every_file_that_a_page_shows_is_valid() -> None:
    shown = [(page, block) for page in PAGES for block in pages.blocks(page) if block.language == "yaml"]
    assert {block.info for _, block in shown} >= {
        "project/task.yaml",
        "project/memory.yaml",
        "builderos.yaml",
    }
    for page, block in shown:
        assert yaml.safe_load(block.text)
        issues = delivery.validate(block.info, block.text.encode())
        assert not issues, f"{_name(page)}:{block.line}: {issues}"


def test_generated_pages_are_up_to_date() -> None:
    stale = [
        path
        for path, text in reference.generated().items()
        if not path.exists() or path.read_text("utf-8") != text
    ]
    assert not stale, f"run `make reference`: {', '.join(map(_name, stale))}"


def test_no_generated_page_outlives_its_source() -> None:
    kept = set(reference.generated())
    assert {p for p in (DOCS / "reference").rglob("*") if p.is_file()} == kept


def test_every_setting_code_operation_and_command_is_described() -> None:
    def text(name: str) -> str:
        return (DOCS / "reference" / name).read_text("utf-8")

    assert all(f"`{reference.variable(name)}`" in text("settings.md") for name in Settings.model_fields)
    assert all(f"`{code}`" in text("errors.md") for code in STATUS)
    names = [operation.name for group in root.GROUPS for operation in group.items]
    assert all(f"`{name}`" in text("operations.md") for name in names)
    assert all(f"## builderos {name}\n" in text("cli.md") for name in ENTRIES)


def test_the_limits_have_the_defaults_that_the_page_says() -> None:
    defaults = {reference.variable(name): field.default for name, field in Settings.model_fields.items()}
    rows = re.findall(
        r"^\|.*?\| ([\d,]+)( MiB)? \|.*\| `(\w+)` \|$",
        (DOCS / "technical/limits.md").read_text("utf-8"),
        re.MULTILINE,
    )
    assert len(rows) > 10
    for number, unit, name in rows:
        assert int(number.replace(",", "")) * (2**20 if unit else 1) == defaults[name], name


def test_every_schedule_is_described() -> None:
    names = re.findall(r'engine\.cron\(\s*"([a-z-]+)"', (ROOT / "src/builderos/app.py").read_text("utf-8"))
    page = (DOCS / "technical" / "operations.md").read_text("utf-8")
    assert names
    assert [name for name in names if f"`{name}`" not in page] == []


def test_every_code_and_command_in_the_guides_exists() -> None:
    guides = "\n".join(page.read_text("utf-8") for page in PAGES if "reference" not in page.parts)
    variables = {reference.variable(name) for name in Settings.model_fields} | {
        "BUILDEROS_TOKEN", "BUILDEROS_URL", "BUILDEROS_SOAK", "BUILDEROS_TEST_DATABASE_URL",
        "BUILDEROS_BROWSER", "BUILDEROS_ACP_AGENTS",  # what tests run with
        "BUILDEROS_LIVE_ANTHROPIC", "BUILDEROS_LIVE_OPENAI",
        # what a step finds in its room
        "BUILDEROS_RUN_ID", "BUILDEROS_STEP", "BUILDEROS_ATTEMPT", "BUILDEROS_SEED", "BUILDEROS_INPUTS",
        "BUILDEROS_OUTPUT", "BUILDEROS_RUN_FILE", "BUILDEROS_ARTIFACTS", "BUILDEROS_PARAMS", "BUILDEROS_DATA",
        # what an app or a session calls with
        "BUILDEROS_CALL_URL", "BUILDEROS_CALL_TOKEN",
    }  # fmt: skip
    assert set(re.findall(r"\bBUILDEROS_[A-Z_]+\b", guides)) <= variables
    assert set(re.findall(r"^(?:\.venv/bin/)?builderos (\w+)", guides, re.MULTILINE)) <= set(ENTRIES)


def _anchors(page: Path) -> set[str]:
    plain = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in _HEADING.findall(plain)}


def _links(page: Path) -> list[str]:
    plain = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return _LINK.findall(plain)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _links(page):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in _anchors(target), f"{link}: there is no such heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, todo = set[Path](), [README]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        todo += [
            (page.parent / link.partition("#")[0]).resolve()
            for link in _links(page)
            if "://" not in link and link[0] != "#"
        ]
    assert set(PAGES) <= seen, f"no page leads to {', '.join(map(_name, set(PAGES) - seen))}"


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.parent.name == "decisions" and p.name != "README.md"], ids=_name
)
def test_a_decision_says_what_it_costs_and_where_it_is_kept(page: Path) -> None:
    text = page.read_text("utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert any("gave up" in h or "costs" in h for h in headings)
    assert len(text.splitlines()) <= 60, "a decision fits on one page"
    for path in re.findall(r"`((?:src|tests|migrations)/[^`\s:]+)`", text):
        assert (ROOT / path).exists(), f"{path} does not exist"


def test_architecture_is_short_and_names_what_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    assert len(text.splitlines()) < 200
    floors = [
        ROOT / "src/builderos" / floor
        for floor in ("interfaces", "integrations", "workloads", "execution", "assets", "trust")
    ]
    rooms = {p.name for floor in floors for p in floor.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert {room for room in rooms if f"`{room}" not in text} == set()
    for path in re.findall(r"`((?:src|tests|migrations|docs|scripts|bench)/[^`\s:*]+)`", text):
        assert (ROOT / path).exists(), f"{path} does not exist"
