"""The action `verify`: ask what is deployed whether it answers as it should."""

import asyncio
import functools
import http.client
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import urlsplit

import sqlalchemy as sa

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.steps import Done, Work
from builderos.core.unit import Unit, perform
from builderos.engine.durable import Durable

from . import rows
from .manifest import MAX_EXPECTED, Expected, Manifest, expected_of
from .model import deployments

HEADER: Final = "X-BuilderOS-Deployment"
_BODY: Final = 1 << 20
_PATIENCE_S: Final = 10.0
_PAUSE_S: Final = 0.25
_MOST_S: Final = 300.0


async def verify(context: Context, work: Work) -> Done:
    """Ask a deployment what is expected of it, again and again until it answers so or the time is over.

    Inputs: `deployment`, its id, else the newest of the run; `expect`, a list of `{path, status, contains, lacks,
    max_ms}`, else what `deploy.yaml` says under `verify`, else that its health path is well; `within`, seconds. Every
    answer has to come from exactly this deployment.
    """
    durable = context.get(Durable)
    row, expected = await durable.unit(
        functools.partial(perform, context, work.call, functools.partial(_asked, work), durable=False)
    )
    until = time.monotonic() + min(_within(work), work.timeout_s)
    while True:
        checks = await asyncio.to_thread(_look, row, expected)
        bad = [check for check in checks if not check["ok"]]
        if not bad or time.monotonic() >= until:
            break
        await asyncio.sleep(_PAUSE_S)
    result = {"deployment_id": row.id, "url": row.url, "checks": checks}
    if bad:
        said = "; ".join(f"{check['path']}: {check['why']}" for check in bad[:5])
        return Done("failed", "gate", f"{len(bad)} of {len(checks)} checks failed: {said}"[:2000], result=result,
                    retry=False)  # fmt: skip
    return Done(result=result)


def _asked(work: Work, unit: Unit) -> tuple[rows.Row, Sequence[Expected]]:
    """Which deployment, and what it has to answer. Raises `not_found`, `illegal_transition`, `validation_failed`."""
    id_ = work.node.inputs.get("deployment")
    if id_:
        row = rows.find(unit, str(id_))
    else:
        wanted = sa.select(deployments).where(deployments.c.run_id == work.run_id)
        found = unit.execute(wanted.order_by(deployments.c.id.desc()).limit(1)).one_or_none()
        if found is None:
            raise Problem(
                "not_found", "this run has deployed nothing", hint="Let verify need a step that deploys."
            )
        row = found
    rows.require(unit, "deployment.read", row)
    if row.status != "live" or row.url is None:
        raise Problem(
            "illegal_transition", f"the deployment {row.id} is {row.status}, not live", hint="Deploy it first.",
            allowed=[],
        )  # fmt: skip
    manifest = Manifest.from_json(row.manifest)
    health = Expected(path=manifest.check.path, status=manifest.check.status)
    return row, _expected(work) or manifest.verify or (health,)


def _expected(work: Work) -> tuple[Expected, ...]:
    given = work.node.inputs.get("expect") or ()
    try:
        if not isinstance(given, Sequence) or isinstance(given, str) or len(given) > MAX_EXPECTED:  # pyright: ignore[reportUnknownArgumentType]
            raise TypeError(f"a list of at most {MAX_EXPECTED}")
        return tuple(expected_of(one) for one in given)  # pyright: ignore[reportUnknownVariableType]
    except (TypeError, ValueError) as error:
        raise Problem(
            "validation_failed", f"expect of the step {work.name} cannot be read: {error}",
            hint="Write a list, e.g. - {path: /, status: 200, contains: Hello}.",
        ) from error  # fmt: skip


def _within(work: Work) -> float:
    given = work.node.inputs.get("within") or 0
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= _MOST_S:
        raise Problem(
            "validation_failed", f"within of the step {work.name} is no number of seconds", hint=f"0 to {_MOST_S:g}."
        )  # fmt: skip
    return float(given)


def _look(row: rows.Row, expected: Sequence[Expected]) -> list[dict[str, Any]]:
    return [_one(row, one) for one in expected]


def _one(row: rows.Row, expected: Expected) -> dict[str, Any]:
    """Ask once; the address is one that this server gave out, only the path comes from people."""
    place, began = urlsplit(str(row.url)), time.monotonic()
    line = http.client.HTTPConnection(str(place.hostname), place.port, timeout=_PATIENCE_S)
    status: int | None = None
    try:
        line.request(
            "GET", expected.path, headers={"User-Agent": "builderos-verify", "Accept-Encoding": "identity"}
        )
        reply = line.getresponse()
        status, text = reply.status, reply.read(_BODY).decode("utf-8", "replace")
        answered_by = reply.getheader(HEADER)
        why = (
            _fault(expected, status, text)
            if answered_by == row.id
            else f"{answered_by or 'something else'} answered"
        )
    except (OSError, http.client.HTTPException) as error:
        why = f"it does not answer ({type(error).__name__})"
    finally:
        line.close()
    took = round((time.monotonic() - began) * 1000)
    if not why and expected.max_ms is not None and took > expected.max_ms:
        why = f"it took {took} ms, more than {expected.max_ms}"
    asked = {key: value for key, value in asdict(expected).items() if value not in ("", None)}
    return {**asked, "ok": not why, "why": why, "answered": status, "ms": took}


def _fault(expected: Expected, status: int, text: str) -> str:
    if status != expected.status:
        return f"it answered {status}, not {expected.status}"
    if expected.contains and expected.contains not in text:
        return f"its answer does not contain {expected.contains!r}"
    return f"its answer contains {expected.lacks!r}" if expected.lacks and expected.lacks in text else ""
