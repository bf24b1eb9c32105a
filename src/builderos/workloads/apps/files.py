"""The files of a release: laid out from its commit, then built. What is there already is left as it is."""

import asyncio
import contextlib
import functools
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.service import Scratch
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, as_system
from builderos.execution.compute import service as compute
from builderos.execution.runs import service as runs
from builderos.execution.serving.service import badges
from builderos.trust.vault import service as vault

from . import hosting, kinds, rows

BUILD_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that is needed to have a release answer on this machine."""

    org_id: str
    app_id: str
    id: str
    number: int
    repo_id: str
    branch_id: str
    branch: str
    store: str
    tree: str
    spec: Mapping[str, Any]
    app_name: str
    calls: badges.Calls
    folder: Path
    logs: Path
    redactor: Any
    max_seconds: float

    @property
    def static(self) -> bool:
        """Whether files are served, and nothing runs."""
        return not self.spec["command"]

    @property
    def holder(self) -> badges.Holder:
        """As what it calls endpoints and models: the app itself, never whoever released it."""
        return badges.Holder(self.app_id, f"app-{self.app_name}", self.repo_id)

    @property
    def health_path(self) -> str:
        """The path that is asked whether it is well."""
        return f"{self.spec['base_path']}{self.spec['health']['path']}"


def recipe_of(unit: Unit, release_id: str) -> Recipe:
    """What a row says. Raises `not_found`, `runtime_not_approved`."""
    row = rows.release(unit, release_id)
    branch = repositories.branch_by_id(unit, row.branch_id)
    chosen = unit.get(compute.Approved).choose(unit, branch.repo_id, row.spec["runtime"], row.spec["profile"])
    app = rows.find(unit, row.app_id)
    # What the manifest names no more is closed to older releases, too.
    calls = badges.Calls.of(row.spec).within(badges.Calls.of(app.spec).scopes)
    return Recipe(
        org_id=unit.org_id, app_id=row.app_id, app_name=app.name, calls=calls, id=row.id, number=row.number,
        repo_id=branch.repo_id,
        branch_id=branch.id, branch=row.branch, store=branch.store, tree=row.tree, spec=row.spec,
        folder=rows.folder_of(unit, row), logs=rows.log_of(unit, row, "build", 0).parent,
        redactor=unit.get(vault.Known).of(unit), max_seconds=chosen.profile.max_seconds,
    )  # fmt: skip


def lay_out(context: Context, recipe: Recipe) -> None:
    """Write the files, readable for the account that their command gets: the folders above keep all others out."""
    folder = recipe.folder
    if recipe.spec["build"] and not _built(recipe).exists() and _builds(recipe).exists():
        remove(folder)  # a build was cut short: it begins with fresh files
    if not runs.workspace.marker_of(folder).exists():
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        as_system(context, recipe.org_id, functools.partial(_ready, branch_id=recipe.branch_id))
        scratch = Scratch.of(context, recipe.org_id, recipe.repo_id, recipe.store)
        runs.workspace.lay_out(scratch, recipe.tree, folder)
    if recipe.spec["type"] == "flask":
        program = Path(hosting.__file__).with_name(Path(kinds.HOST_FILE).name).read_bytes()
        with compute.Beneath(folder) as beneath:  # the commit may hold a link of that name
            known = b""
            with contextlib.suppress(OSError):
                known = beneath.read(kinds.HOST_FILE, len(program) + 1)
            if known != program:
                beneath.write(kinds.HOST_FILE, program)
    for place, _, names in os.walk(folder):
        Path(place).chmod(0o755)
        for name in names:
            path = Path(place, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                path.chmod(0o755 if mode & 0o100 else 0o644)


async def build(context: Context, recipe: Recipe, call: Call) -> str:
    """Run its build in its files, once; why it failed, where it did. Raises like `compute.execute`."""
    if not recipe.spec["build"] or _built(recipe).exists():
        return ""
    number = await asyncio.to_thread(_next_build, recipe)
    order = compute.Order(
        call=call, run_id=recipe.id, step_id="build", attempt=number, workspace=str(recipe.folder),
        script=recipe.spec["build"], runtime=recipe.spec["runtime"], profile=recipe.spec["profile"],
        network=tuple(recipe.spec["network"]), env={"BASE_PATH": recipe.spec["base_path"], **recipe.spec["env"]},
        timeout_s=BUILD_S, repo_id=recipe.repo_id, branch=recipe.branch,
    )  # fmt: skip
    opened = functools.partial(runs.Sink, recipe.logs / "build.log", recipe.redactor)
    with await asyncio.to_thread(opened) as sink:
        outcome = await compute.execute(context, order, sink)
    if outcome.status != "success" or outcome.recorded:
        return outcome.detail or f"the build ended with exit code {outcome.exit_code}; see its log"
    await asyncio.to_thread(_built(recipe).touch)
    return ""


def remove(folder: Path) -> None:
    """Forget the files of a release; they are laid out again where they are wanted."""
    runs.workspace.marker_of(folder).unlink(missing_ok=True)  # first: half of a folder does not count
    shutil.rmtree(folder.parent, ignore_errors=True)


def _ready(unit: Unit, branch_id: str) -> None:
    """The store of the branch is there; for files that lie there already nobody needs it."""
    repositories.ready(unit, repositories.branch_by_id(unit, branch_id))


def served(recipe: Recipe) -> Path:
    """The folder of a static app. Raises `not_found` where the build made none."""
    path = str(recipe.spec["source"]["path"])
    folder = recipe.folder / path if path else recipe.folder
    real = Path(os.path.realpath(folder))
    if not real.is_dir() or not real.is_relative_to(os.path.realpath(recipe.folder)):
        raise Problem(
            "not_found", f"there is no folder {path} in the release", hint="Change the app's source."
        )
    return real


def _built(recipe: Recipe) -> Path:
    return recipe.folder.with_name("built")


def _builds(recipe: Recipe) -> Path:
    return recipe.logs / "builds"


def _next_build(recipe: Recipe) -> int:
    """A name for each attempt: one that the server's end cut short is begun anew."""
    count = _builds(recipe)
    count.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    number = int(count.read_text()) + 1 if count.exists() else 1
    count.write_text(str(number))
    return number


def in_org(context: Context, org_id: str, release_id: str) -> Recipe:
    """The recipe, in a transaction of its own. Blocks."""
    return as_system(context, org_id, functools.partial(recipe_of, release_id=release_id))
