"""A small web service that comes along, with scripts of what models say, written by hand for exactly its files."""

import shlex
import subprocess
from pathlib import Path
from typing import Final

from .samples import FOLDER, files_of, lay_out

NAME: Final = "teashop"
MODEL: Final = f"scripted/{NAME}"


def repository() -> dict[str, str]:
    """The files of its repository: path → text."""
    return files_of("repository.txt")


def provider_file() -> str:
    """A provider file with which every model follows the scripts; each of its answers carries the label `scripted`."""
    folder = str(FOLDER / "scripts").replace("'", "''")
    return (
        f"version: 1\ndefault: {MODEL}\n"
        f"providers:\n  scripted: {{kind: recorded, mode: scripted, folder: '{folder}'}}\n"
    )


def sample(folder: Path) -> str:
    """Lay its repository and a state folder with its models out in `folder`; how to play the pipelines there.

    Raises `OSError` where it cannot be written, `subprocess.CalledProcessError` where git fails.
    """
    place, home = folder / NAME, folder / "home"
    lay_out(repository(), place)
    lay_out({"ssot/providers/ai/provider.yaml": provider_file()}, home)
    author = ("-c", "user.name=Tea shop", "-c", "user.email=shop@example.com")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*author, "commit", "-q", "-m", "Sell tea")):
        subprocess.run(["git", *words], cwd=place, check=True)
    return _TOLD.format(home=shlex.quote(str(home)), place=shlex.quote(str(place)), name=NAME)


_TOLD: Final = """\
Models are scripted there: written by hand, for exactly these files.

  export BUILDEROS_HOME={home}
  builderos repo import {place} --name {name} --as owner
  builderos sandbox create --repo {name} --as owner       # its branch is BRANCH below

  builderos run hotfix_pipeline --repo {name} --branch BRANCH --as owner \\
    -p by=agents -p reason="Ten pieces of a tea do not cost a tenth less" --follow
  builderos approvals --as owner                          # then: builderos approve ID --as owner
  builderos deploy list --repo {name} --as owner

  builderos run data_pipeline --repo {name} --branch BRANCH --as owner \\
    -p goal="Dates as ISO 8601, prices as whole cents." --follow

  builderos self stop"""
