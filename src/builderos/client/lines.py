"""The file of a run: what is logged, a JSON object a line.

Nothing here needs more than Python's own library, nor the rest of the package: a copy of this file is what a command
finds as `builderos` in its sandbox, where the server reads the file while it grows.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # pythons of runtimes may be older than the server's
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

FILE = "BUILDEROS_RUN_FILE"
ARTIFACTS = "BUILDEROS_ARTIFACTS"
PARAMS = "BUILDEROS_PARAMS"
DATA = "BUILDEROS_DATA"
SAMPLE_S = 10.0
CPU = "system/cpu_utilization_percentage"
MEMORY = "system/system_memory_usage_megabytes"


class Lines:
    """A run that writes down what is logged. As a context it ends `finished`, or `failed` where an exception leaves."""

    def __init__(self, file: Path, *, system_metrics: bool = False) -> None:
        self.file = file
        self._out = file.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._ended = False
        self._meter = Meter(self) if system_metrics and sys.platform == "linux" else None

    def log_metric(self, key: str, value: float, step: int = 0) -> None:
        """A point of a series."""
        number: float | str = float(value)
        if not math.isfinite(number):
            number = "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
        self._write("metric", key=key, value=number, step=int(step), at_ms=int(time.time() * 1000))

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Points of several series."""
        for key, value in values.items():
            self.log_metric(key, value, step)

    def log_param(self, key: str, value: object) -> None:
        """A parameter; it has one value for good."""
        self._write("param", key=key, value=str(value))

    def log_params(self, values: Mapping[str, object]) -> None:
        """Parameters."""
        for key, value in values.items():
            self.log_param(key, value)

    def set_tag(self, key: str, value: object) -> None:
        """A tag; the last value counts."""
        self._write("tag", key=key, value=str(value))

    def log_artifact(self, path: str | os.PathLike[str], folder: str = "") -> None:
        """Keep a file, or a folder with all in it, as it is now; `folder`: where in the run."""
        source = Path(path)
        target = self._kept() / folder / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target)

    def end(self, status: str = "finished") -> None:
        """Say what came of it (finished, failed, killed). Safe to repeat."""
        if self._ended:
            return
        if self._meter is not None:
            self._meter.end()
        self._write("end", status=status, at_ms=int(time.time() * 1000))
        self._ended = True
        self._out.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end("finished" if kind is None else "failed")

    def _kept(self) -> Path:
        """Where files are put that are to be kept with the run."""
        named = os.environ.get(ARTIFACTS)
        return Path(named) if named else self.file.with_suffix(".files")

    def _write(self, what: str, **members: Any) -> None:
        line = json.dumps({"what": what, **members})
        with self._lock:
            if self._ended:
                raise RuntimeError("this run has ended")
            self._out.write(line + "\n")
            self._out.flush()


class Meter:
    """Processor and memory of this process and all below it (in a sandbox: all that run there), every ten seconds."""

    def __init__(self, run: Lines) -> None:
        self._run = run
        self._over = threading.Event()
        self._step = 0
        self._before = (time.monotonic(), _used()[0])
        self._thread = threading.Thread(target=self._go_on, name="builderos-meter", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """The last sample."""
        self._over.set()
        self._thread.join()
        self._sample()

    def _go_on(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        now, (cpu_s, memory) = time.monotonic(), _used()
        since, used = now - self._before[0], max(0.0, cpu_s - self._before[1])
        self._before = (now, cpu_s)
        share = 100 * used / since if since > 0 else 0.0
        self._run.log_metrics({CPU: share, MEMORY: memory / 1e6}, self._step)
        self._step += 1


def _used() -> tuple[float, float]:
    """Seconds of processor time and bytes of memory of this process and those below it; of a sandbox, all in it."""
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    parents: dict[int, int] = {}
    found: dict[int, tuple[float, float]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                rest = file.read().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        parents[int(name)] = int(rest[1])
        # Fields 14 to 17 and 24 of proc(5): its own time and that of children that ended, resident pages.
        found[int(name)] = (sum(map(int, rest[11:15])) / ticks, int(rest[21]) * page)
    mine = {os.getpid()} if FILE not in os.environ else set(found)
    more = mine
    while more:
        more = {pid for pid, parent in parents.items() if parent in mine} - mine
        mine |= more
    own = [found[pid] for pid in mine if pid in found]
    return sum(one[0] for one in own), sum(one[1] for one in own)


def params() -> dict[str, Any]:
    """The parameters that this run was submitted with; none outside of a sandbox."""
    file = os.environ.get(PARAMS)
    return dict(json.loads(Path(file).read_text(encoding="utf-8"))) if file else {}


def dataset() -> Path:
    """The folder with the files of the dataset that this run was submitted with. Raises `RuntimeError`."""
    folder = os.environ.get(DATA)
    if not folder:
        raise RuntimeError("no dataset was given: this is not a run that was submitted")
    return Path(folder)


def attached(*, system_metrics: bool = True) -> Lines:
    """The run whose sandbox this is."""
    return Lines(Path(os.environ[FILE]), system_metrics=system_metrics)


def start_run(*_: object, system_metrics: bool = True, **__: object) -> Lines:
    """The run whose sandbox this is, whatever it is called elsewhere."""
    return attached(system_metrics=system_metrics)
