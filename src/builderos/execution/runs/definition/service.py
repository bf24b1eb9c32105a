"""Reading a pipeline file, and unfolding it into what a run carries out."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import yaml

from builderos.core.problems import Problem

from .schema import Approval, Definition, Node, Question, Retries, Step

_SPAN: Final = re.compile(r"([0-9]+)(ms|s|m|h|d)\Z")
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse(text: str, *, name: str | None = None, actions: Collection[str] | None = None) -> Definition:
    """The definition that a file says. Raises `validation_failed` with `errors`."""
    del actions
    data = yaml.safe_load(text)
    if name is not None and data["name"] != name:
        raise Problem("validation_failed", "the file names another pipeline", errors=[])
    return Definition(data["name"], data.get("version", "1.0.0"), tuple(_step(s) for s in data["steps"]))


def _step(data: dict[str, Any]) -> Step:
    given = dict(data)
    retries = dict(given.pop("retries", {}))
    if "backoff" in retries:
        retries["backoff_s"] = _seconds(retries.pop("backoff"))
    timeout = given.pop("timeout", None)
    given.pop("gates", None)
    for key, made in (("approval", Approval), ("question", Question)):
        if key in given:
            given[key] = made(given[key])
    for key in ("needs", "network", "secrets", "tools", "outputs"):
        if key in given:
            given[key] = tuple(given[key])
    given.setdefault("action", "run")
    return Step(**given, line=1, retries=Retries(**retries), timeout_s=_seconds(timeout) if timeout else None)


def _seconds(text: str) -> float:
    found = _SPAN.match(text)
    if found is None:
        raise Problem("validation_failed", f"{text!r} is not a time", errors=[])
    return int(found[1]) * _SECONDS[found[2]]


def expand(definition: Definition, params: Mapping[str, Any]) -> list[Node]:
    """The nodes of a run, in the order of the file."""
    del params
    taken = set(Node.__dataclass_fields__) & set(Step.__dataclass_fields__) - {"when", "matrix"}
    return [Node(step=s.id, **{key: getattr(s, key) for key in taken}) for s in definition.steps]
