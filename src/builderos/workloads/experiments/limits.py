"""What may be logged: names, lengths, how much at once. The limits are MLflow's, so that its clients meet no others."""

import re
from collections.abc import Mapping
from typing import Final

from builderos.core.problems import Problem

KEY: Final = re.compile(r"[/\w.\- :]{1,250}\Z")
MAX_METRICS: Final = 1000
MAX_PARAMS: Final = 100
MAX_TAGS: Final = 100
MAX_TOGETHER: Final = 1000
MAX_PARAM: Final = 6000
MAX_TAG: Final = 8000
MAX_INT: Final = 2**63 - 1


def invalid(detail: str, hint: str = "See the limits of experiments.") -> Problem:
    """What was sent cannot be logged."""
    return Problem("validation_failed", detail, hint=hint)


def check_name(name: str, what: str, most: int) -> None:
    """Raises `validation_failed`."""
    if not name or len(name) > most or "\x00" in name or not name.isprintable():
        raise invalid(f"Invalid value for parameter '{what}': a name has 1 to {most} printable characters.")


def check_key(key: str, what: str) -> None:
    """Raises `validation_failed` for a key that could be mistaken for a path of a file."""
    if not KEY.match(key) or key.startswith(("/", "./")) or ".." in key or "//" in key:
        raise invalid(
            f"Invalid {what} name: '{key[:300]}'. Names may only contain alphanumerics, underscores (_), dashes (-), "
            "periods (.), spaces ( ), colon(:) and slashes (/), and are no way out of a folder."
        )


def check_texts(values: Mapping[str, str], what: str, most: int) -> None:
    """Raises `validation_failed`."""
    for key, value in values.items():
        check_key(key, what)
        if len(value) > most:
            raise invalid(
                f"{what.capitalize()} value '{value[:50]}…' of '{key}' had length {len(value)}, which exceeded length "
                f"limit of {most}"
            )
        if "\x00" in value:
            raise invalid(f"{what.capitalize()} value of '{key}' contains a NUL character")


def check_tags(values: Mapping[str, str]) -> None:
    """Raises `validation_failed`."""
    check_texts(values, "tag", MAX_TAG)
