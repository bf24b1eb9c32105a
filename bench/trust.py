"""What policy, quota and ledger take of one commit."""

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

from builderos.assets.workspaces import allowance
from builderos.assets.workspaces.model import sandboxes
from builderos.core.unit import Call, Unit, perform
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from .commits import seeded
from .report import Report
from .stage import REPO, Home, Sandbox, Server
from .wire import Wire

_OURS = ((policy, "require"), (policy, "require_paths"), (allowance, "take"), (ledger, "compose"))


class Stopwatch:
    """Milliseconds spent in functions, counted once where one calls the other."""

    def __init__(self) -> None:
        self.ms = 0.0
        self.last: tuple[Any, ...] = ()
        self._depth = 0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, watched."""

        def timed(*args: Any, **more: Any) -> Any:
            began, self._depth = time.perf_counter(), self._depth + 1
            try:
                result = function(*args, **more)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.ms += (time.perf_counter() - began) * 1000
            if function.__name__ == "compose":
                self.last = (result,)
            return result

        return timed


def share_of_a_commit(report: Report, home: Home, server: Server, rounds: int) -> None:
    """The program's part by the clock, the database's part by a transaction with and without the line."""
    sandbox, by_http = seeded(home, 20), seeded(home, 20)
    watch, spent = Stopwatch(), list[float]()
    with ExitStack() as patches:
        for module, name in _OURS:
            patches.enter_context(mock.patch.object(module, name, watch.around(getattr(module, name))))
        for number in range(rounds):
            watch.ms = 0.0
            home.commit(sandbox, sandbox.commit_body(number, ("trust", number)))
            spent.append(watch.ms)
    line = _line_ms(home, sandbox, str(watch.last[0]), rounds)
    wire, took = Wire(server.port, by_http.token), list[float]()
    for number in range(rounds):
        began = time.perf_counter()
        wire.commit(REPO, by_http.branch, number, ("share", number))
        took.append((time.perf_counter() - began) * 1000)
    wire.close()
    program, whole = statistics.median(spent), statistics.median(took)
    report.at_most(
        "policy, quota and ledger within a commit over HTTP [ms]", program + line, max(0.8, whole / 4),
        f"{program:.2f} ms in the program, {line:.2f} ms in the database; the commit {whole:.2f} ms; 0.8 or a quarter",
    )  # fmt: skip


def _line_ms(home: Home, sandbox: Sandbox, line: str, rounds: int) -> float:
    """What a line adds to a transaction that is written and flushed anyway."""
    call = Call(sandbox.actor, "valid")
    took: dict[bool, list[float]] = {True: [], False: []}

    def write(number: int, *, with_line: bool) -> None:
        def verb(unit: Unit) -> None:
            mine = sandboxes.c.id == sandbox.actor.sandbox_id
            unit.execute(sandboxes.update().where(mine).values(created_by=f"act_{number}"))
            if with_line:
                unit.send("ops.ledger_append", line)

        perform(home.context, call, verb)

    for number in range(4 * rounds):
        with_line = number % 2 == 0
        began = time.perf_counter()
        write(number, with_line=with_line)
        took[with_line].append((time.perf_counter() - began) * 1000)
    return statistics.median(there - bare for there, bare in zip(took[True], took[False], strict=True))
