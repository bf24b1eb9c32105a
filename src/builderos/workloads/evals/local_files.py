"""The newest result of each suite as a file, `.builderos/evals/<suite>/results.json` in the project's state folder."""

import json
import logging
from pathlib import Path
from typing import Any

from builderos.core.files import replace_text
from builderos.core.home import project_state
from builderos.core.unit import Unit

log = logging.getLogger("builderos.evals")


def path_of(home: Path, org_id: str, project_id: str | None, suite: str) -> Path:
    """Where the results of a suite lie."""
    return project_state(home, org_id, project_id) / "evals" / suite / "results.json"


def note(unit: Unit, project_id: str | None, suite: str, said: dict[str, Any]) -> None:
    """Write the file once the unit is durable."""
    path = path_of(unit.settings.home_dir, unit.org_id, project_id, suite)
    unit.after_commit(lambda: _write(path, said))


def _write(path: Path, said: dict[str, Any]) -> None:
    text = json.dumps(said, ensure_ascii=False, indent=1) + "\n"
    try:
        replace_text(path, text)
    except OSError as error:  # the result is kept in the database; the next one writes the file anew
        log.warning("%s could not be written: %s", path, error)
