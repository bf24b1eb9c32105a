"""What each type of app is started with where nobody says otherwise, and how it tells that it is well."""

import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final, get_args

from builderos.core.problems import Problem
from builderos.execution.compute.schema import host_rule
from builderos.execution.serving.service import badges

from .schema import Health, Source, Type

PORT: Final = 8000
HOST_FILE: Final = ".builderos/apphost.py"  # of the files of a release: what serves WSGI and ASGI
_RESERVED: Final = frozenset({
    "PORT", "HOST", "HOSTNAME", "BASE_PATH", "PATH", "HOME", "WORKSPACE", "TMPDIR", badges.URL, badges.TOKEN,
})  # fmt: skip
_STREAMLIT: Final = (
    "exec python3 -m streamlit run {path} --server.port=$PORT --server.address=127.0.0.1 --server.headless=true "
    "--server.enableCORS=false --server.enableXsrfProtection=false --server.fileWatcherType=none "
    "--browser.gatherUsageStats=false --server.baseUrlPath=$BASE_PATH"
)  # the door asks every page where it comes from; what streamlit checks itself it can only guess behind a proxy
_BUILT: Final = "find .next/standalone -name server.js -not -path '*/node_modules/*' | head -n 1"
_NEXT: Final = f'cd {{path}} && exec node "$(if [ -f server.js ]; then echo server.js; else {_BUILT}; fi)"'
# Node as a wheel of Python brings npm as a file that finds the rest of it only where Node itself was installed; of
# authorities it knows its own alone, unless it is told of those that the machine trusts. What
# `output: "standalone"` leaves is put together with what it leaves out; the rest is many times as large.
_NEXT_BUILD: Final = f"""cd {{path}}
[ ! -f server.js ] || exit 0
export NODE_EXTRA_CA_CERTS="${{{{NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}}}}"
cli=$(dirname "$(command -v node)")/../lib/node_modules/npm/bin/npm-cli.js
npm() {{{{ if [ -f "$cli" ]; then node "$cli" "$@"; else command npm "$@"; fi; }}}}
if [ -f package-lock.json ]; then npm ci --no-audit --no-fund; else npm install --no-audit --no-fund; fi
NEXT_TELEMETRY_DISABLED=1 node_modules/.bin/next build
server=$([ ! -d .next/standalone ] || {_BUILT})
[ -n "$server" ] || {{{{ echo "next.config has to say output: 'standalone'" >&2; exit 1; }}}}
place=$(dirname "$server")
mkdir -p "$place/.next"
cp -r .next/static "$place/.next/static"
[ ! -d public ] || cp -r public "$place/public"
rm -rf node_modules .next/cache
"""
TYPES: Final[tuple[Type, ...]] = get_args(Type)
_HEALTH: Final[Mapping[Type, str]] = {"streamlit": "/_stcore/health"}


def command_of(type_: Type, source: Source, said: str) -> str:
    """What a shell starts; empty where files are served. Raises `validation_failed`."""
    if type_ == "static":
        if said:
            raise Problem("validation_failed", "a static app has no command", hint="Choose the type custom.")
        return ""
    if said:
        return said
    if type_ == "custom":
        raise Problem("validation_failed", "a custom app has no command", hint="Say command.")
    if type_ == "nextjs":
        return _NEXT.format(path=shlex.quote(source.path or "."))
    if not source.path:
        raise Problem("validation_failed", f"a {type_} app is a file", hint="Say source.path, e.g. app.py.")
    if type_ == "streamlit":
        return _STREAMLIT.format(path=shlex.quote(source.path))
    return f"exec python3 {HOST_FILE} {shlex.quote(source.path)} {source.object}"


def build_of(type_: Type, source: Source, said: str, command: str) -> str:
    """What is run in the files first. `said`, `command`: what somebody said instead of what a type does."""
    if said or command or type_ != "nextjs":
        return said
    return _NEXT_BUILD.format(path=shlex.quote(source.path or "."))


def health_of(type_: Type, said: Health | None) -> Health:
    """How a type says that it is well."""
    return said or Health(path=_HEALTH.get(type_, "/"))


def check(source: Source, env: Mapping[str, str], secrets: list[str], network: list[str]) -> None:
    """Raise `validation_failed` for what could never be started."""
    if ".." in PurePosixPath(source.path).parts:
        raise Problem(
            "validation_failed", "source.path leaves the repository", hint="Name a path below its top."
        )
    if taken := sorted(_RESERVED.intersection([*env, *secrets])):
        raise Problem("validation_failed", f"{taken[0]} is set by the server", hint="Choose another name.")
    if twice := sorted(set(env).intersection(secrets)):
        raise Problem("validation_failed", f"{twice[0]} is a variable and a secret", hint="Name it once.")
    for host in network:
        try:
            host_rule(host)
        except ValueError:
            raise Problem(
                "validation_failed",
                f"{host[:80]!r} is no host",
                hint="Write api.example.com or *.example.com.",
            ) from None


def environment_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """The variables that every app finds beside its own."""
    return {
        "PORT": str(PORT), "HOST": "127.0.0.1", "HOSTNAME": "127.0.0.1", "BASE_PATH": spec["base_path"],
        "PYTHONUNBUFFERED": "1", **spec["env"],
    }  # fmt: skip
