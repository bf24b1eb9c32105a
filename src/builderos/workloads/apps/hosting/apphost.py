"""Serve the WSGI or ASGI application of a file: `apphost.py app.py app`. It is run inside of the jail.

What the runtime brings does it: gunicorn, waitress or werkzeug, else Python's own server, for WSGI; uvicorn or
hypercorn for ASGI. Nothing but the standard library is needed.
"""

import importlib
import importlib.util
import inspect
import os
import sys
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

HOST, PORT, BASE = "127.0.0.1", int(os.environ.get("PORT", "8000")), os.environ.get("BASE_PATH", "")
THREADS = 8


def main(path: str, name: str) -> None:
    """Load it, and serve it until the end."""
    app = loaded(path, name)
    if is_asgi(app):
        serve_asgi(rooted(app, BASE) if BASE else app)
    else:
        serve_wsgi(below(app, BASE) if BASE else app)


def loaded(path: str, name: str) -> Any:
    """The application: an object of the file, or what a function of that name without parameters makes."""
    file = Path(path).resolve()
    sys.path.insert(0, str(file.parent))
    sys.path.insert(0, str(Path.cwd()))
    spec = importlib.util.spec_from_file_location("app" if file.stem == "__init__" else file.stem, file)
    if spec is None or spec.loader is None:
        sys.exit(f"apphost: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        sys.exit(f"apphost: {path} has no {name!r}; say which object is the application (source.object)")
    found = getattr(module, name)
    if inspect.isfunction(found) and not inspect.iscoroutinefunction(found) and not needed(found):
        return found()
    return found


def needed(function: Any) -> int:
    """How many parameters a call has to give."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    given = inspect.signature(function).parameters.values()
    return sum(1 for one in given if one.kind in kinds and one.default is one.empty)


def is_asgi(app: Any) -> bool:
    """Whether it is called with scope, receive and send."""
    call = app if inspect.isroutine(app) else getattr(app, "__call__", app)  # noqa: B004  the method itself
    return inspect.iscoroutinefunction(call) or (not inspect.isclass(app) and needed(call) == 3)


def below(app: Any, base: str) -> Any:
    """The application, told below which path it lies (PEP 3333: SCRIPT_NAME)."""

    def mounted(environ: dict[str, Any], start: Any) -> Any:
        path = environ.get("PATH_INFO", "")
        if path == base or path.startswith(f"{base}/"):
            environ = {**environ, "SCRIPT_NAME": base, "PATH_INFO": path[len(base) :]}
        return app(environ, start)

    return mounted


def rooted(app: Any, base: str) -> Any:
    """The application, told below which path it lies (ASGI: root_path, which the path begins with)."""

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if path == base or path.startswith(f"{base}/"):
            scope = {**scope, "root_path": base}
        await app(scope, receive, send)

    return mounted


def serve_asgi(app: Any) -> None:
    """With a server of the runtime."""
    if importlib.util.find_spec("uvicorn"):
        uvicorn: Any = importlib.import_module("uvicorn")
        uvicorn.run(
            app, host=HOST, port=PORT, proxy_headers=True, forwarded_allow_ips="*", log_level="info"
        )  # fmt: skip
        return
    if importlib.util.find_spec("hypercorn"):
        asyncio: Any = importlib.import_module("asyncio")
        config = importlib.import_module("hypercorn.config").Config()
        config.bind = [f"{HOST}:{PORT}"]
        asyncio.run(importlib.import_module("hypercorn.asyncio").serve(app, config))
        return
    sys.exit(
        "apphost: this is an ASGI application, and the runtime brings no server for it (uvicorn, hypercorn)"
    )


def serve_wsgi(app: Any) -> None:
    """With a server of the runtime, or with Python's own."""
    if importlib.util.find_spec("gunicorn"):
        serve_gunicorn(app)
    elif importlib.util.find_spec("waitress"):
        importlib.import_module("waitress").serve(
            app, host=HOST, port=PORT, threads=THREADS, trusted_proxy="*"
        )
    elif importlib.util.find_spec("werkzeug"):
        importlib.import_module("werkzeug.serving").run_simple(HOST, PORT, app, threaded=True)
    else:
        with make_server(HOST, PORT, app, Threaded, Plain) as server:
            server.serve_forever()


def serve_gunicorn(app: Any) -> None:
    """Two workers with threads, loaded once."""
    base: Any = importlib.import_module("gunicorn.app.base").BaseApplication

    def load_config(self: Any) -> None:
        for key, value in {
            "bind": f"{HOST}:{PORT}", "workers": 2, "threads": THREADS, "worker_tmp_dir": "/dev/shm",  # noqa: S108
            "forwarded_allow_ips": "*", "accesslog": "-",
        }.items():  # fmt: skip
            self.cfg.set(key, value)

    def load(self: Any) -> Any:  # noqa: ARG001
        return app

    type("Served", (base,), {"load_config": load_config, "load": load})().run()


class Threaded(ThreadingMixIn, WSGIServer):
    """A thread per request."""

    daemon_threads = True
    request_queue_size = 128


class Plain(WSGIRequestHandler):
    """One line per request, without asking any resolver for names."""

    def address_string(self) -> str:
        """Who asks."""
        return str(self.client_address[0])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
