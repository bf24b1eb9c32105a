"""`.gitmodules` is an ordinary file, but what git would refuse to carry out for it is refused here."""

import re
from typing import Final

from builderos.core.problems import Problem

# As `git fsck` has it: gitmodulesUpdate, gitmodulesUrl, gitmodulesPath, gitmodulesName; and helpers of transports.
_CARRIED_OUT: Final = re.compile(
    rb"(?:^|\])[ \t]*(?:update[ \t]*=[ \t]*\"?!|(?:url|path)[ \t]*=[ \t]*\"?-|url[ \t]*=[ \t]*\"?[a-z]+::)"
    rb"|^[ \t]*\[[ \t]*submodule[ \t]+\"[^\"\n]*\.\.",
    re.IGNORECASE | re.MULTILINE,
)


def check_submodules(path: str, content: bytes) -> None:
    """Raise `validation_failed` for a `.gitmodules` that runs commands on the computers of those who clone."""
    if path == ".gitmodules" and _CARRIED_OUT.search(content):
        raise Problem(
            "validation_failed", ".gitmodules names a command, an option or a way out of its folder",
            hint="Give each submodule a plain name, a plain path and an https:// address.",
        )  # fmt: skip
