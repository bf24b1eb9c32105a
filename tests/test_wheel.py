"""One wheel, installed away from the checkout, is the whole product; its command prints help without an import."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from builderos.interfaces.console.door import DIST
from tests.tidy import ROOT, tracked


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run with nothing of this checkout on Python's path."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; it borrows the dependencies, not the editable project, of this one."""
    home = tmp_path_factory.mktemp("elsewhere") / "env"
    venv.create(home, with_pip=False, symlinks=True)
    site = next(home.glob("lib/python3*/site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    pip = (sys.executable, "-m", "pip", "--python", home / "bin/python", "--disable-pip-version-check")
    done = run(*pip, "install", "--no-index", "--no-deps", "--ignore-installed", wheel, cwd=home)
    assert done.returncode == 0, done.stderr
    return home


def test_the_wheel_carries_every_file_of_the_product_and_no_other(wheel: Path) -> None:
    expected: set[str] = set()
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("src/builderos/"):
            expected.add(name.removeprefix("src/"))
        elif name.startswith("migrations/"):
            expected.add(f"builderos/_{name}")
    built = DIST.rglob("*")
    expected |= {f"builderos/{p.relative_to(DIST.parents[2]).as_posix()}" for p in built if p.is_file()}
    assert "builderos/interfaces/console/dist/index.html" in expected
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("builderos/")}
    assert names == expected


def test_the_wheel_carries_licence_and_command(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert any(name.endswith(".data/scripts/builderos") for name in names)


def test_the_installed_product_finds_its_migrations_without_the_checkout(installed: Path) -> None:
    ask = "from builderos.core.migrations import migrations_dir as d; print(d()); print((d() / 'env.py').is_file())"
    answer = run(installed / "bin/python", "-c", ask, cwd=installed)
    assert answer.stdout.split("\n")[1:] == ["True", ""], answer.stderr
    assert answer.stdout.startswith(str(installed))


def test_the_installed_command_prints_its_page_of_help(installed: Path) -> None:
    page = (ROOT / "src/builderos/interfaces/cli/help.txt").read_text("utf-8")
    for words in ([], ["--help"], ["-h"], ["help"]):
        answer = run(installed / "bin/builderos", *words, cwd=installed)
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, page, ""), words


def test_the_installed_command_hands_every_other_word_to_the_command_line(installed: Path) -> None:
    answer = run(installed / "bin/builderos", "no-such-command", cwd=installed)
    assert answer.returncode == 2
    assert "no-such-command" in answer.stderr


def test_help_imports_nothing_but_the_empty_package(installed: Path) -> None:
    python = installed / "bin/python"
    help_page = imported(
        run(python, "-X", "importtime", installed / "bin/builderos", "--help", cwd=installed)
    )
    nothing = imported(run(python, "-X", "importtime", "-c", "pass", cwd=installed))
    assert help_page - nothing == {"builderos"}


def imported(process: subprocess.CompletedProcess[str]) -> set[str]:
    """The modules that `-X importtime` reports."""
    assert process.returncode == 0, process.stderr
    rows = [line for line in process.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in rows}
