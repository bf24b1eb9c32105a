"""The program that serves an application inside of the jail, called here without one."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builderos.workloads.apps.hosting import apphost


def test_objects_classes_and_factories_are_told_apart() -> None:
    async def asgi(scope: Any, receive: Any, send: Any) -> None: ...

    class Old:
        def __call__(self, environ: Any, start: Any) -> Any: ...

    class New:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def wsgi(environ: Any, start: Any) -> Any: ...

    assert [apphost.is_asgi(app) for app in (asgi, New(), Old(), wsgi)] == [True, True, False, False]
    assert apphost.needed(wsgi) == 2


@pytest.mark.parametrize(
    ("code", "name", "found"),
    [
        ("app = len", "app", "len"), ("def make():\n    return len", "make", "len"),
        ("def app(environ, start): ...", "app", "app"),
    ],
    ids=["an object", "a factory", "a function"],
)  # fmt: skip
def test_the_object_that_is_named_is_loaded(tmp_path: Path, code: str, name: str, found: str) -> None:
    file = tmp_path / "some_app.py"
    file.write_text(code)
    path, modules = list(sys.path), dict(sys.modules)
    try:
        assert apphost.loaded(str(file), name).__name__ == found
    finally:
        sys.path[:] = path
        sys.modules.pop("some_app", None)
        assert set(modules) <= set(sys.modules)


def test_an_asgi_application_without_a_server_for_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("async def app(scope, receive, send): ...\n")
    program = Path(apphost.__file__)
    done = subprocess.run(
        [sys.executable, "-I", "-S", program, tmp_path / "app.py", "app"], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 1
    assert "brings no server for it (uvicorn, hypercorn)" in done.stderr


def test_below_a_path_an_asgi_application_is_told_its_root() -> None:
    seen: list[tuple[str, str]] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append((scope.get("root_path", ""), scope.get("path", "")))

    mounted = apphost.rooted(app, "/sales")
    for scope in ({"path": "/sales/a"}, {"path": "/salesforce"}, {"type": "lifespan"}):
        asyncio.run(mounted(scope, None, None))
    assert seen == [("/sales", "/sales/a"), ("", "/salesforce"), ("", "")]


def test_below_a_path_an_application_finds_its_own() -> None:
    seen: list[tuple[str, str]] = []

    def app(environ: dict[str, Any], _start: Any) -> list[bytes]:
        seen.append((environ.get("SCRIPT_NAME", ""), environ["PATH_INFO"]))
        return []

    mounted = apphost.below(app, "/sales")
    for path in ("/sales", "/sales/a", "/salesforce"):
        mounted({"PATH_INFO": path}, None)
    assert seen == [("/sales", ""), ("/sales", "/a"), ("", "/salesforce")]
