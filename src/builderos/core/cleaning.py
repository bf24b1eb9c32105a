"""Takes secrets out of what leaves this process beside its replies: logs, problems, free texts of the ledger.

How is said by the composition root, once for the process, as logs belong to the process. Until then nothing is taken
out.
"""

from collections.abc import Callable
from typing import Any, Final, cast

Clean = Callable[[str], str]
# What people and programs say in their own words. Ids, names, paths and numbers of a record stay as they are: whoever
# keeps a secret must not be able to keep an act out of the record with it.
TEXTS: Final = frozenset(
    {
        "claimed_by",
        "comment",
        "description",
        "detail",
        "error",
        "message",
        "metadata",
        "reason",
        "text",
        "title",
    }
)
_clean: Clean | None = None


def clean_with(clean: Clean | None) -> None:
    """From now on every text passes `clean`."""
    global _clean  # noqa: PLW0603 - logs are one for the process, and so is this
    _clean = clean


def cleaned(value: Any) -> Any:
    """A JSON value without secrets in its texts, names included."""
    if _clean is None or value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list | tuple):
        return [cleaned(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {cleaned(name) if isinstance(name, str) else name: cleaned(item) for name, item in items}
    return value


def cleaned_texts(payload: dict[str, Any]) -> dict[str, Any]:
    """A record whose free texts hold no secrets."""
    return {name: cleaned(value) if name in TEXTS else value for name, value in payload.items()}
