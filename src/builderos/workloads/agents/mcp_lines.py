"""Lines to MCP servers, for as long as a session is worked on: opened when one is needed, under the agent's name."""

import asyncio
import functools
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.steps import Work
from builderos.core.unit import Unit, perform
from builderos.engine.durable import Durable
from builderos.execution.compute import service as compute
from builderos.execution.runs import service as runs
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource
from builderos.trust.secrets.service import Redactor
from builderos.trust.vault import service as vault

from . import program
from .definition import Agent
from .files import Files
from .gate import call_of
from .limits import Reached
from .mcp_servers import ENV, PREFIX, SECRET, Declared
from .ports import ToolLine, ToolServers
from .shell import Output

Opening: TypeAlias = Callable[[], AbstractAsyncContextManager[ToolLine]]


class Lines:
    """The lines of one session. Each is held by a task of its own, which alone enters and leaves it."""

    def __init__(
        self,
        context: Context,
        work: Work,
        agent: Agent,
        places: Mapping[str, Declared],
        say: Callable[[str], None],
    ) -> None:
        self._context = context
        self._work = work
        self._agent = agent
        self._places = places
        self._say = say
        self._open: dict[str, _Held] = {}
        self._starts = 0

    async def to(self, name: str, files: Files) -> ToolLine:
        """An open line. `files`: what a command finds as its workspace.

        Raises `policy_denied`, `not_found` (a secret), `upstream_failed`, what starting a command raises; `Parked`.
        """
        held = self._open.get(name)
        if held is None or held.is_over:
            held = _Held(functools.partial(self._line, self._places[name], files))
            self._open[name] = held
        return await held.line()

    async def drop(self, name: str) -> None:
        """Hang up: what went wrong on a line may go wrong again."""
        held = self._open.pop(name, None)
        if held is not None:
            await held.end()

    async def close(self) -> None:
        """Hang up on all."""
        for name in list(self._open):
            await self.drop(name)

    def _line(self, place: Declared, files: Files) -> AbstractAsyncContextManager[ToolLine]:
        return self._over_http(place) if place.server.url is not None else self._in_jail(place, files)

    # ---------------------------------------------------------------- over HTTP

    @asynccontextmanager
    async def _over_http(self, place: Declared) -> AsyncGenerator[ToolLine]:
        headers = await self._context.get(Durable).unit(functools.partial(self._headers, place))
        servers = self._context.get(ToolServers)  # type: ignore[type-abstract]
        async with servers.at(place.where(), headers, place.server.timeout_s) as line:
            yield line

    def _headers(self, place: Declared) -> dict[str, str]:
        """Credentials, and leave to reach the host: asked of the policy under the agent's name. Blocks."""
        call = call_of(self._context, self._work, self._agent, f"{PREFIX}{place.name}")
        return perform(self._context, call, functools.partial(self._admitted, place), durable=False)

    def _admitted(self, place: Declared, unit: Unit) -> dict[str, str]:
        where, host = self._where(unit), place.asked_host()
        if host is not None:
            decision = policy.may_reach(unit, host, where)
            if decision.verdict != "allow":
                raise policy.Refused(decision, "network.reach", where)
        asked = place.server.references
        names = [text.removeprefix(SECRET) for text in asked.values() if text.startswith(SECRET)]
        purpose = f"run {self._work.run_id} {PREFIX}{place.name}"[:200]
        values = vault.release(unit, names, purpose, where) if names else {}
        found = {name: text for name, text in place.server.headers.items() if name not in asked}
        for name, text in asked.items():
            value = values[text.removeprefix(SECRET)] if text.startswith(SECRET) else _variable(unit, text)
            found[name] = (
                f"Bearer {value}" if text == place.server.token and name == "Authorization" else value
            )
            if not found[name].isascii() or not found[name].isprintable():
                raise Problem("validation_failed", f"{text} cannot stand in a header", hint="Set it anew.")
        return found

    def _where(self, unit: Unit) -> Resource:
        work = self._work
        if work.repo_id is None:
            return policy.org_resource(unit)
        return Resource(
            kind="repo", id=work.repo_id, org_id=unit.org_id, repo_id=work.repo_id, project=work.repo_name or None,
            branch=work.branch or None,
        )  # fmt: skip

    # ---------------------------------------------------------------- in the jail

    @asynccontextmanager
    async def _in_jail(self, place: Declared, files: Files) -> AsyncGenerator[ToolLine]:
        durable = self._context.get(Durable)
        self._starts += 1
        job = replace(self._work, name=f"{self._work.name}-{place.name}-{os.urandom(4).hex()}-{self._starts}")
        folder = runs.workspace.folder_of(self._context, job)
        hosts, redactor = await durable.unit(functools.partial(self._reach, place))
        await durable.unit(functools.partial(runs.workspace.lay_out, files.scratch, files.tree, folder))
        output = Output(redactor)
        servers = self._context.get(ToolServers)  # type: ignore[type-abstract]
        try:
            order = self._order(place, job, folder, hosts)
            async with (
                program.spoken_with(self._context, order, output) as (reader, writer),
                servers.over(reader, writer, place.server.timeout_s) as line,
            ):
                yield line
        except Reached as reached:
            raise Problem("upstream_failed", f"{place.name}: {reached}", hint="Look at the log.") from reached
        finally:
            self._say(output.text())
            await durable.unit(functools.partial(runs.workspace.remove, folder))

    def _reach(self, place: Declared) -> tuple[tuple[str, ...], Redactor]:
        """Hosts that the agent may reach; who started the run is asked by the jail itself. Blocks."""
        call = call_of(self._context, self._work, self._agent, f"{PREFIX}{place.name}")

        def ask(unit: Unit) -> tuple[tuple[str, ...], Redactor]:
            where, names = self._where(unit), place.server.secrets
            for name in names:  # the jail asks for whoever started the run; here it is asked for the agent
                decision = policy.may_use_secret(unit, name, where)
                if decision.verdict != "allow":
                    raise policy.Refused(decision, "secret.use", where)
            hosts = tuple(
                host for host in place.server.network
                if policy.may_reach(unit, host.partition(":")[0], where).verdict == "allow"
            )  # fmt: skip
            return hosts, unit.get(vault.Known).of(unit)

        return perform(self._context, call, ask, durable=False)

    def _order(self, place: Declared, job: Work, folder: Path, hosts: tuple[str, ...]) -> compute.Order:
        work, server = self._work, place.server
        return compute.Order(
            call=work.call, run_id=work.run_id, step_id=job.name, attempt=work.attempt, workspace=str(folder),
            argv=program.started(server.command), runtime=work.node.runtime or "", profile=work.node.profile or "",
            network=hosts, secrets=tuple(compute.SecretAsked(name) for name in server.secrets),
            env=dict(runs.FIXED) | dict(server.env), timeout_s=max(1.0, work.timeout_s), repo_id=work.repo_id,
            branch=work.branch or None, logs_ref=f"logs/{work.run_id}/{work.name}.{work.attempt}.log",
            serves=program.PORT,
        )  # fmt: skip


class _Held:
    """A line in the hands of its task."""

    def __init__(self, make: Opening) -> None:
        self._leave = asyncio.Event()
        self._ready: asyncio.Future[ToolLine] = asyncio.get_running_loop().create_future()
        self._task = asyncio.ensure_future(self._hold(make))

    @property
    def is_over(self) -> bool:
        return self._task.done()

    async def line(self) -> ToolLine:
        """Once it is open. Raises what kept it from that."""
        return await asyncio.shield(self._ready)

    async def end(self) -> None:
        """Have it left."""
        self._leave.set()
        if not self._ready.done():
            self._task.cancel()
        await asyncio.wait({self._task})
        if self._ready.done() and not self._ready.cancelled():
            self._ready.exception()  # whoever asked has heard of it

    async def _hold(self, make: Opening) -> None:
        try:
            async with make() as line:
                self._ready.set_result(line)
                await self._leave.wait()
        except asyncio.CancelledError:
            self._ready.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - told to whoever waits for the line, or has hung up on it
            if not self._ready.done():
                self._ready.set_exception(error)


def _variable(unit: Unit, text: str) -> str:
    """A variable of the server's environment, which no log and no answer shows from here on. Raises `not_found`."""
    value = os.environ.get(text.removeprefix(ENV), "")
    if not value:
        raise Problem(
            "not_found", f"the server has no variable {text.removeprefix(ENV)}", hint="Set it, and restart."
        )
    unit.get(vault.Known).saw(value.encode())
    return value
