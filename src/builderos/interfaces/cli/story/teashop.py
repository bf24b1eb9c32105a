"""A small web service that comes along, with scripts of what models say, written by hand for exactly its files."""

from typing import Final

from .samples import FOLDER, files_of

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
