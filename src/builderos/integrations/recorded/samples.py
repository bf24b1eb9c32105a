"""A small repository that comes along, and scripts that were written by hand for it."""

from importlib import resources
from pathlib import Path
from typing import Final

import yaml

NAME: Final = "teashop"
_PROVIDERS: Final = """\
version: 1
default: scripted/teashop
providers:
  scripted: {{kind: recorded, mode: scripted, folder: {folder}}}
"""


def repository() -> dict[str, str]:
    """Its files: path → text."""
    files: dict[str, str] = yaml.safe_load((_folder() / "repository.yaml").read_text("utf-8"))
    return files


def provider_file() -> str:
    """A provider file with which every model follows the scripts: every answer carries the label `scripted`."""
    return _PROVIDERS.format(folder=_folder() / "scripts")


def _folder() -> Path:
    return Path(str(resources.files(__package__ or "") / "sample"))
