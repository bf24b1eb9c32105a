"""Where a server keeps its state. Apart from the settings, so that a command knows it without loading them."""

import os
import sys
from pathlib import Path
from typing import Final


def default_home() -> Path:
    """The platform's state folder. For root a system folder, because PostgreSQL runs there as another user."""
    if sys.platform != "win32" and os.geteuid() == 0:
        return Path("/var/lib/builderos")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "builderos"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "builderos"


def configured_home() -> Path:
    """The absolute state folder that the environment asks for (`BUILDEROS_HOME`), as `Settings.home_dir` has it."""
    named = os.environ.get("BUILDEROS_HOME")
    return (Path(named) if named is not None else default_home()).expanduser().absolute()


# Everything on disk that belongs to one organisation lies in a folder of its id below one of these.
REPOSITORIES: Final = "repos"
ARTIFACTS: Final = "artifacts"
EXPORTS: Final = "exports"
PROJECTS: Final = "projects"
EXECUTIONS: Final = "executions"  # of all organisations: nothing stays there
JAIL_DOOR: Final = "calls"  # a socket file there: what commands in jails may ask this server
ASIDE: Final = ".lost"


def org_roots(home: Path, org_id: str) -> tuple[Path, ...]:
    """The folders that hold all files of one organisation and nothing of any other; not all of them need to exist.

    Among them what the doctor has set aside (`.lost`).
    """
    roots = [home / kind / org_id for kind in (REPOSITORIES, ARTIFACTS, EXPORTS, PROJECTS)]
    return (*roots, *sorted((home / REPOSITORIES / ASIDE).glob(f"*/{org_id}")))


def project_state(home: Path, org_id: str, project_id: str | None) -> Path:
    """The state folder of one project, laid out as `.builderos/` is: `runs/`, `logs/`, `artifacts/`.

    What belongs to no project shares a folder of its own.
    """
    return home / PROJECTS / org_id / (project_id or "none")
