"""How a run stands, drawn in a terminal: a line per lane, redrawn in place while something happens."""

import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final, Self, TextIO

from builderos.client.http import Json

from .output import plain

EVERY_S: Final = 0.2
_MARKS: Final = {
    "pending": "·", "running": "▸", "retrying": "↻", "waiting_approval": "?", "waiting_input": "?", "succeeded": "✓",
    "cached": "≡", "failed": "✗", "skipped": "-", "denied": "✗", "cancelled": "✗", "timed_out": "✗",
}  # fmt: skip
_COLOURS: Final = {"✓": "32", "≡": "32", "✗": "31", "▸": "36", "↻": "33", "?": "33"}
_OPEN: Final = frozenset({"running", "retrying", "waiting_approval", "waiting_input"})
_NARROW: Final = 20


@dataclass
class _Step:
    name: str
    lane: str
    status: str = "pending"
    attempt: int = 0
    began: float | None = None
    took: float | None = None


@dataclass
class Standing:
    """What is known of a run from its events. Times are this machine's, for what is seen here."""

    run_id: str
    pipeline: str = ""
    status: str = "queued"
    total: int = 0
    ended: int = 0
    began: float = field(default_factory=time.monotonic)
    steps: dict[str, _Step] = field(default_factory=dict[str, _Step])

    def take(self, type_: str, payload: Json) -> None:
        """Something happened."""
        if type_.startswith("run."):
            self.status = str(payload.get("status", self.status))
            self.pipeline = str(payload.get("pipeline", self.pipeline))
            self.total = int(payload.get("steps", self.total))
            return
        name = str(payload.get("name", "?"))
        step = self.steps.setdefault(name, _Step(name, str(payload.get("lane", ""))))
        step.status = str(payload.get("status", step.status))
        step.attempt = int(payload.get("attempt", step.attempt))
        now = time.monotonic()
        if type_ == "step.started":
            step.began, step.took = now, None
        elif type_ in ("step.ended", "step.skipped"):
            step.took = now - step.began if step.began is not None else None
            self.ended += 1

    def drawn(self, width: int, height: int, *, colour: bool) -> list[str]:
        """The lines of a picture, each as wide as the terminal at most."""
        seconds = int(time.monotonic() - self.began)
        count = f"{self.ended}/{self.total or '?'}  {seconds // 60}:{seconds % 60:02}"
        head = f"{self.run_id}  {self.pipeline}  {self.status}  {count}"
        lanes: dict[str, list[_Step]] = {}
        for step in self.steps.values():
            lanes.setdefault(step.lane, []).append(step)
        # Lanes in which something goes on come first: there may be more of them than lines.
        order = sorted(lanes, key=lambda lane: all(s.status not in _OPEN for s in lanes[lane]))
        lines = [_line(lane, lanes[lane], width, colour=colour) for lane in order[: max(1, height - 2)]]
        if len(order) > len(lines):
            lines.append(f"  … and {len(order) - len(lines)} more lanes")
        return [plain(head)[:width], *lines]


def _line(lane: str, steps: list[_Step], width: int, *, colour: bool) -> str:
    """One lane: what goes on in it, and what went before as far as there is room."""
    title = f"  {plain(lane) or '-':<10.10}"
    parts: list[tuple[str, str]] = []
    room = max(_NARROW, width) - len(title)
    open_ = [step for step in steps if step.status in _OPEN]
    for step in [*open_, *(step for step in reversed(steps) if step.status not in _OPEN)]:
        mark = _MARKS.get(step.status, "·")
        text = f" {mark} {plain(step.name)}{_time(step)}"
        if len(text) > room:
            parts.append(("", " …" if room > 1 else ""))
            break
        room -= len(text)
        parts.append((mark, text))
    shown = [_painted(mark, text, colour=colour) for mark, text in reversed(parts)]
    return title + "".join(shown)


def _time(step: _Step) -> str:
    again = f" #{step.attempt}" if step.attempt > 1 else ""
    if step.took is not None:
        return f"{again} {step.took:.1f}s"
    if step.status in _OPEN and step.began is not None:
        return f"{again} {int(time.monotonic() - step.began)}s"
    return again


def _painted(mark: str, text: str, *, colour: bool) -> str:
    code = _COLOURS.get(mark)
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code else text


class Screen:
    """Redraws a standing in place, a few times a second, until the block is left. Other lines go above it."""

    def __init__(self, standing: Standing, out: TextIO | None = None, *, colour: bool = True) -> None:
        self._standing = standing
        self._out = out or sys.stdout
        self._colour = colour
        self._height = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_drawing, name="lanes", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._draw()

    def take(self, type_: str, payload: Json) -> None:
        """Something happened."""
        with self._lock:
            self._standing.take(type_, payload)

    def say(self, text: str) -> None:
        """A line that stays, above the picture."""
        with self._lock:
            self._wipe()
            self._out.write(plain(text) + "\n")

    def _keep_drawing(self) -> None:
        while not self._over.wait(EVERY_S):
            self._draw()

    def _draw(self) -> None:
        size = shutil.get_terminal_size()
        with self._lock:
            lines = self._standing.drawn(size.columns - 1, size.lines - 1, colour=self._colour)
            self._wipe()
            self._out.write("\n".join(lines) + "\n")
            self._height = len(lines)
            self._out.flush()

    def _wipe(self) -> None:
        if self._height:
            self._out.write(f"\x1b[{self._height}A\x1b[J")
            self._height = 0


def plain_line(type_: str, payload: Json) -> str | None:
    """An event as a line of a log; None for what nobody needs to read."""
    said: dict[str, Any] = payload
    if type_.startswith("run."):
        reason = f" ({said['reason']})" if said.get("reason") else ""
        return f"run {said.get('status', type_.partition('.')[2])}{reason}"
    name = said.get("name", "?")
    again = f", attempt {said['attempt']}" if int(said.get("attempt") or 0) > 1 else ""
    if type_ == "step.started":
        return f"{name}: started{again}"
    if type_ == "step.waiting":
        return f"{name}: {str(said.get('status', 'waiting')).replace('_', ' for ', 1).replace('waiting', 'waits')}"
    reason = f" ({said['reason']})" if said.get("reason") else ""
    return f"{name}: {str(said.get('status', type_)).replace('_', ' ')}{reason}{again}"
