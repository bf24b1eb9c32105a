"""What starts runs of a pipeline by itself."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import yaml

from builderos.core.yamlwords import ID

from .reading import Words
from .schema import Trigger
from .templates import OPEN

TRIGGER_KEYS: Final = ("schedule", "webhook", "push", "after", "params")
PUSH_KEYS: Final = ("branches", "paths")
AFTER_KEYS: Final = ("pipeline", "statuses")
ENDS: Final = ("succeeded", "failed", "denied", "cancelled", "timed_out")
_EVENT: Final = re.compile(r"[a-z][a-z0-9_.-]{0,62}\Z")
_PATTERN: Final = re.compile(r"[^\s\x00-\x1f\\\[\]{}!]{1,400}\Z")
_CRON_PART: Final = re.compile(r"(?:\*|[0-9]{1,2}(?:-[0-9]{1,2})?)(?:/[0-9]{1,2})?\Z")
CRON: Final = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_LENGTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class TriggerWords(Words):
    """Reads `triggers`."""

    def trigger(self, node: yaml.Node, path: str) -> Trigger | None:
        """`manual`, or one of schedule, webhook, push and after, with the params of the run."""
        line, column = self.line_of(node), node.start_mark.column + 1
        if isinstance(node, yaml.ScalarNode):
            return (
                Trigger("manual", line=line, column=column) if self.choice(node, path, ("manual",)) else None
            )
        keys = self.mapping(node, path, TRIGGER_KEYS)
        kinds = [key for key in keys if key != "params"]
        if len(kinds) != 1:
            hint = "Give one of manual, schedule, webhook, push, after; several triggers are several items."
            self.fault(node, path, "a trigger is one thing", hint)
            return None
        kind, where = kinds[0], f"{path}.{kinds[0]}"
        readers: dict[str, Callable[[yaml.Node, str], dict[str, Any] | None]] = {
            "schedule": self._schedule, "webhook": self._webhook, "push": self._push, "after": self._after,
        }  # fmt: skip
        found = readers[kind](keys[kind], where)
        params = self._values(keys["params"], f"{path}.params") if "params" in keys else {}
        return None if found is None else Trigger(kind, params=params, line=line, column=column, **found)  # pyright: ignore[reportArgumentType]

    def _values(self, node: yaml.Node, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, item in self.free_mapping(node, path, 100).items():
            found[name] = self.value(item, f"{path}.{name}")
            if OPEN in str(found[name]):
                self.fault(item, f"{path}.{name}", "nothing is filled in here", "Write a plain value.")
        return found

    def _schedule(self, node: yaml.Node, path: str) -> dict[str, Any] | None:
        text = self.text(node, path)
        why = cron_fault(text) if text is not None else None
        if why is not None:
            self.fault(
                node, path, why, 'Write minute, hour, day, month, weekday in UTC: "0 3 * * *".', "cron"
            )
        return None if text is None or why else {"schedule": " ".join(text.split())}

    def _webhook(self, node: yaml.Node, path: str) -> dict[str, Any] | None:
        event = self.fitting(node, path, _EVENT, "an event", "Write for example push.")
        return None if event is None else {"event": event}

    def _push(self, node: yaml.Node, path: str) -> dict[str, Any] | None:
        """A branch pattern, a list of them, or `{branches, paths}`."""
        if not isinstance(node, yaml.MappingNode):
            return {"branches": self._patterns(node, path)}
        keys = self.mapping(node, path, PUSH_KEYS, required=("branches",))
        return {name: self._patterns(item, f"{path}.{name}") for name, item in keys.items()}

    def _patterns(self, node: yaml.Node, path: str) -> tuple[str, ...]:
        hint = "Use * for any text without a slash, ** for any text."
        found = self.listed(node, path, 50, lambda n, p: self.fitting(n, p, _PATTERN, "a pattern", hint))
        if not found and not self.issues:
            self.fault(node, path, "no pattern is listed", hint)
        return found

    def _after(self, node: yaml.Node, path: str) -> dict[str, Any] | None:
        """The name of a pipeline, or `{pipeline, statuses}`."""
        hint = "Write the name of another pipeline."
        if isinstance(node, yaml.ScalarNode):
            name = self.fitting(node, path, ID, "a pipeline", hint)
            return None if name is None else {"pipeline": name, "statuses": ("succeeded",)}
        keys = self.mapping(node, path, AFTER_KEYS, required=("pipeline",))
        name = (
            self.fitting(keys["pipeline"], f"{path}.pipeline", ID, "a pipeline", hint)
            if "pipeline" in keys
            else None
        )
        statuses: tuple[str, ...] = ("succeeded",)
        if "statuses" in keys:
            where = f"{path}.statuses"
            statuses = self.listed(keys["statuses"], where, 5, lambda n, p: self.choice(n, p, ENDS))
        return None if name is None else {"pipeline": name, "statuses": statuses}


def cron_fault(text: str) -> str | None:
    """Why a text is no schedule of five fields; None: it is one."""
    fields = text.split()
    if len(fields) != len(CRON):
        return f"{len(fields)} fields where five are expected"
    for field, (name, least, most) in zip(fields, CRON, strict=True):
        for part in field.split(","):
            if not _CRON_PART.match(part):
                return f"{part[:20]!r} is no {name}"
            head, _, step = part.partition("/")
            ends = [int(end) for end in head.split("-")] if head != "*" else [least, most]
            if step and int(step) == 0:
                return f"every 0th {name} is never"
            if any(not least <= end <= most for end in ends) or ends != sorted(ends):
                return f"{part[:20]!r} is no {name} from {least} to {most}"
    return "no such day ever comes" if _never(fields) else None


def cron_values(field: str, least: int, most: int) -> Iterator[int]:
    """The numbers that one field means."""
    for part in field.split(","):
        head, _, step = part.partition("/")
        ends = [int(end) for end in head.split("-")] if head != "*" else [least, most]
        last = most if step and len(ends) == 1 else ends[-1]
        yield from range(ends[0], last + 1, int(step or 1))


def _never(fields: Sequence[str]) -> bool:
    """Whether no month of those has a day of these, e.g. the 31st of February."""
    if fields[2] == "*" or fields[4] != "*":  # any day, or one of the week will do
        return False
    days, months = (set(cron_values(fields[at], *CRON[at][1:])) for at in (2, 3))
    return all(min(days) > _LENGTHS[month - 1] for month in months)
