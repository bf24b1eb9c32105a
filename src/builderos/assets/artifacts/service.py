"""What other rooms may use of artifacts: `prepare` and `keep` put in, `open_` gives out."""

from . import media, moving, reading, rules, tidying, uploading
from .folder import FOLDER, FolderStore, open_shared
from .keeping import Prepared, keep, prepare
from .places import Stores
from .reading import open_
from .schema import Artifact
from .tidying import tidy
from .uploading import Progress

__all__ = [
    "FOLDER",
    "Artifact",
    "FolderStore",
    "Prepared",
    "Progress",
    "Stores",
    "keep",
    "media",
    "moving",
    "open_",
    "open_shared",
    "prepare",
    "reading",
    "rules",
    "tidy",
    "tidying",
    "uploading",
]
