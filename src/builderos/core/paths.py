"""Which paths a repository may hold: names that mean the same file on Linux, macOS and Windows, and never
git's own folder.

A path is refused when any common file system would read it as another file than the one it spells. The rules
follow what git itself protects (`core.protectHFS`, `core.protectNTFS`) and what Win32 reserves; SPEC §3.3
asks for them on every write.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final, NoReturn

from builderos.core.problems import Problem

MAX_PATH_BYTES: Final = 4096
MAX_NAME_BYTES: Final = 255
MAX_DEPTH: Final = 100

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Marks that reorder text or show nothing: `a<RLO>gpj.exe` shows as `aexe.jpg`, `a<ZWSP>b` as `ab` (Unicode's
# Default_Ignorable_Code_Point).
_SPOOFING: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_VIRAMA: Final = 9  # combining class of what binds two consonants
_WINDOWS: Final = re.compile(r'[<>:"|?*]')
# Code points that HFS+ skips when it compares names (git: utf8.c, next_hfs_char).
_IGNORED: Final = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_DEVICE: Final = re.compile(r"(?:con|prn|aux|nul|(?:com|lpt)[1-9¹²³]|conin\$|conout\$) *(?:\.|\Z)")
# 8.3 short names under which NTFS finds `.git`, `.gitmodules`, `.gitattributes`, `.gitignore` (git: path.c,
# is_ntfs_dot_generic).
_SHORT: Final = re.compile(r"(?:git|gitmod|gitatt|gitign|gi7eba|gi7d29|gi250a)~[0-9]+\Z")
_SPECIAL: Final = frozenset({".gitmodules", ".gitattributes", ".gitignore"})
# What most paths consist of: names of these letters can break only the rules on whole names.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.+@()\[\]{}=,#%&$!^;' /-]+\Z")


def check_path(path: str) -> str:
    """Return `path` unchanged when it may be written, else raise `Problem("invalid_path")` naming the rule.

    Relative, `/`-separated, normalised (no empty, `.` or `..` component), NFC, at most 4096 bytes, 255 per
    component and 100 components, no control or text-reordering characters, nothing that Windows cannot store
    (`\\ : * ? " < > |`, device names, a trailing dot or space), no spelling of `.git`, no disguised
    `.gitmodules`, `.gitattributes` or `.gitignore` (the plain spellings are ordinary files), and no leading
    `~`, which tools expand to somebody's home folder.
    """
    if not path:
        _refuse(path, "empty", "the path is empty", "Give a path such as `src/a.py`.")
    if not _PLAIN.match(path):
        _check_characters(path)
    elif len(path) > MAX_PATH_BYTES:
        _refuse(path, "too_long", f"the path has more than {MAX_PATH_BYTES} bytes", "Shorten it.")
    if path[0] == "/":
        _refuse(
            path,
            "absolute",
            "the path is absolute",
            "Leave out the leading slash: paths start at the repository.",
        )
    if path[0] == "~":
        _refuse(
            path,
            "home",
            "the path starts with `~`, which tools expand to a home folder",
            "Rename the first folder.",
        )
    names = path.split("/")
    if len(names) > MAX_DEPTH:
        _refuse(path, "too_deep", f"the path is more than {MAX_DEPTH} folders deep", "Use fewer folders.")
    for name in names:
        _check_name(path, name)
    return path


def _check_characters(path: str) -> None:
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        _refuse(
            path,
            "not_unicode",
            "the path holds half a character (a lone surrogate)",
            "Send the path as UTF-8.",
        )
    if size > MAX_PATH_BYTES:
        _refuse(path, "too_long", f"the path has more than {MAX_PATH_BYTES} bytes", "Shorten it.")
    if _CONTROL.search(path):
        _refuse(
            path, "control_character", "the path holds a control character", "Use visible characters only."
        )
    if any(not _belongs(path, found.start()) for found in _SPOOFING.finditer(path)):
        _refuse(
            path,
            "hidden_character",
            "the path holds a character that hides or reorders text",
            "Leave it out.",
        )
    if "\\" in path:
        _refuse(path, "backslash", "the path holds a backslash", "Separate folders with `/`.")
    if found := _WINDOWS.search(path):
        _refuse(
            path, "windows_character", f"`{found[0]}` cannot stand in a file name on Windows", "Leave it out."
        )
    if not unicodedata.is_normalized("NFC", path):
        _refuse(
            path, "not_nfc", "the path is not in Unicode normal form C", "Send composed characters (NFC)."
        )


def _belongs(path: str, at: int) -> bool:
    """Whether a mark does something where it stands: it makes one picture of symbols, or says how the letters of an
    Arabic or Indic script join (Unicode UAX #31, contexts A and B).
    """
    mark, before = path[at], path[at - 1] if at else ""
    if not before:
        return False
    if mark in "\ufe0e\ufe0f":
        return unicodedata.category(before) in ("So", "Sk")
    if mark == "\u200c":
        return unicodedata.bidirectional(before) == "AL" or unicodedata.combining(before) == _VIRAMA
    if mark == "\u200d":
        return (
            unicodedata.category(before) in ("So", "Sk")
            or before == "\ufe0f"
            or unicodedata.combining(before) == _VIRAMA
        )
    return False


def _check_name(path: str, name: str) -> None:
    if not name:
        _refuse(
            path,
            "empty_component",
            "the path has an empty component",
            "Write single slashes, none at the end.",
        )
    if name in (".", ".."):
        _refuse(
            path,
            "dot_component",
            f"the path holds `{name}`",
            "Give the path as seen from the repository's top.",
        )
    key = name.casefold() if name.isascii() else fold(_IGNORED.sub("", name))
    bare = key.rstrip(". ")
    if bare == ".git" or _SHORT.match(bare):
        _refuse(path, "git_folder", f"`{_show(name)}` can mean git's own files", "Choose another name.")
    if bare in _SPECIAL and name != bare:
        _refuse(path, "git_file_disguised", f"`{_show(name)}` can be read as `{bare}`", f"Write `{bare}`.")
    if name[-1] in ". ":
        _refuse(
            path,
            "trailing_dot_or_space",
            "a name ends with a dot or a space, which Windows drops",
            "Leave it out.",
        )
    if _DEVICE.match(key) or _DEVICE.match(name.casefold()):
        _refuse(path, "windows_device", f"`{_show(name)}` is a device on Windows", "Choose another name.")
    if len(name) > MAX_NAME_BYTES // 4 and len(name.encode()) > MAX_NAME_BYTES:
        _refuse(path, "name_too_long", f"a name has more than {MAX_NAME_BYTES} bytes", "Shorten it.")


def _refuse(path: str, rule: str, why: str, hint: str) -> NoReturn:
    shown = _show(path)
    raise Problem("invalid_path", f"{why}: `{shown}`", hint=hint, rule=rule, path=shown)


def _show(text: str) -> str:
    """The text fit for a message: bounded, and neither half characters nor control characters."""
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:200])
    return clean + ("…" if len(text) > 200 else "")


def fold(name: str) -> str:
    """Names with equal folds count as the same: compatibility normalised, case folded (Unicode D146)."""
    if name.isascii():
        return name.lower()
    text = unicodedata.normalize("NFD", name).casefold()
    text = unicodedata.normalize("NFKD", text).casefold()
    return unicodedata.normalize("NFKC", text)


def first_collision(paths: Iterable[str]) -> tuple[str, str] | None:
    """The first two of these paths, or folders above them, that differ only by case or Unicode form; None if
    all differ.

    What `trees.colliding` is against a tree, this is within one set of new files.
    """
    seen: dict[str, str] = {}
    for path in paths:
        end = len(path)
        while end > 0:
            head = path[:end]
            other = seen.setdefault(fold(head), head)
            if other != head:
                return other, head
            end = head.rfind("/")
    return None
