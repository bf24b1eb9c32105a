"""Programs of others, unmodified: each set by a hash-locked file, in an environment of its own."""

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".make"


def environment(name: str, *modules: str) -> Path:
    """The folder of the environment of `requirements/<name>.lock`; made once for each lock, by whoever is first.

    The lock names every package, so nothing is resolved again. Compiled is only what is imported: by whoever uses it,
    and `modules` at once, for programs that run in a jail, where they could not keep what they compile.
    """
    lock, place = ROOT / "requirements" / f"{name}.lock", PLACE / name
    PLACE.mkdir(exist_ok=True)
    mark, wanted = place / ".ready", hashlib.sha256(lock.read_bytes()).hexdigest()
    with place.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not mark.exists() or mark.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", place], check=True)
            pip = [
                sys.executable,
                "-m",
                "pip",
                "--disable-pip-version-check",
                "--python",
                place / "bin" / "python",
            ]
            how = ["install", "-qq", "--no-compile", "--no-deps", "--require-hashes", "--requirement", lock]
            subprocess.run([*pip, *how], check=True)
            if modules:
                subprocess.run([place / "bin" / "python", "-c", f"import {', '.join(modules)}"], check=True)
            mark.write_text(wanted)
    return place
