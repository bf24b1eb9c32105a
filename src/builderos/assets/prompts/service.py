"""What other rooms may use of the prompts."""

from . import changes, formats, local_files, shipped
from .labels import PROMOTE, on_verdict
from .ports import Gates, Judged, Score, Scorers, Verdict
from .reading import parse
from .resolving import Files, file_of, resolve
from .spec import Input, PromptVersion, Spec
from .templates import render

__all__ = [
    "PROMOTE",
    "Files",
    "Gates",
    "Input",
    "Judged",
    "PromptVersion",
    "Score",
    "Scorers",
    "Spec",
    "Verdict",
    "changes",
    "file_of",
    "formats",
    "local_files",
    "on_verdict",
    "parse",
    "render",
    "resolve",
    "shipped",
]
