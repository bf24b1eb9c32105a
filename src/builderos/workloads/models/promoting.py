"""Promotions: `requested → approved|denied → applied → rolled_back`. A yes is bound to exactly what was shown."""

import functools
from typing import Any, Final

import sqlalchemy as sa
from pydantic import ValidationError

from builderos.assets.workspaces import service as workspaces
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy.service import Approval, approvals

from . import rows
from .comparing import as_text, bound, side_by_side
from .model import promotions
from .registry import READ, WRITE, may
from .schema import (
    CreateVersionIn,
    ListPromotionsIn,
    ModelVersion,
    PromoteModelIn,
    Promotion,
    PromotionKind,
    PromotionList,
    RollBackPromotionIn,
    TransitionIn,
    WhichPromotionIn,
)
from .versions import check_step, files_of, made

PROMOTE: Final = "registry.promote"


def transition(unit: Unit, body: TransitionIn) -> ModelVersion:
    """Let a version stand elsewhere.

    Raises `illegal_transition`, and for production `approval_required` with the id of the promotion that was asked
    for: that brings it there, once it has its yes.
    """
    rules = may(unit, WRITE)
    model = rows.model_of(unit, body.name, lock=True)
    row = rows.version_of(unit, model, body.version, lock=True)
    if row.stage == body.stage:
        return rows.shown_version(unit, row)
    check_step(row, body.stage)
    if body.stage == "production":
        may(unit, PROMOTE)
        raise _wants_approval(unit, model, row, body.reason)
    changed = rows.change_version(unit, row.id, stage=body.stage)
    payload = {"name": model.name, "version": row.number, "from": row.stage, "to": body.stage}
    ledger.record(unit, "model.stage", row.id, payload, rules=rules)
    return rows.shown_version(unit, changed)


def _wants_approval(unit: Unit, model: rows.Row, row: rows.Row, reason: str) -> Problem:
    """The refusal; the request outlives it."""
    c = promotions.c
    asked = sa.select(c.id).where(
        c.kind == "stage_to_prod", c.state == "requested", c.source["version_id"].astext == row.id
    )
    known = unit.execute(asked).scalars().first()
    id_ = known or new_id("pmt")
    if known is None:
        unit.keep(functools.partial(_ask_later, id_=id_, name=model.name, number=row.number, reason=reason))
    return Problem(
        "approval_required", f"{model.name}@{row.number} comes into production with an approval",
        hint="A reviewer, an admin or an owner approves it; then it is there.", promotion_id=id_,
    )  # fmt: skip


def _ask_later(unit: Unit, *, id_: str, name: str, number: int, reason: str) -> None:
    model = rows.model_of(unit, name)
    _ask_for_production(unit, id_, model, rows.version_of(unit, model, number), reason)


def promote(unit: Unit, body: PromoteModelIn) -> Reply[Promotion]:
    """Ask for a promotion: 202 with `approval_id`. Raises `not_found`, `illegal_transition`, `validation_failed`."""
    may(unit, PROMOTE)
    id_ = new_id("pmt")
    if body.kind == "stage_to_prod":
        said = _member(body.from_, "name"), body.from_.get("version")
        if not isinstance(said[1], int | str) or not str(said[1]).isdigit():
            raise _unsaid("version")
        model = rows.model_of(unit, said[0], lock=True)
        row = rows.version_of(unit, model, int(said[1]), lock=True)
        check_step(row, "production")
        _ask_for_production(unit, id_, model, row, body.reason)
    elif body.kind == "run_to_model":
        _ask_for_model(unit, id_, body)
    else:
        _open_pull(unit, id_, body)
    found = _find(unit, id_)
    return Reply(202 if found.state == "requested" else 201, _shown(found))


def _member(said: dict[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str) or not value:
        raise _unsaid(name)
    return value


def _unsaid(name: str) -> Problem:
    return Problem("validation_failed", f"{name} is missing", hint="See the operation's description.")


def _ask_for_production(unit: Unit, id_: str, model: rows.Row, row: rows.Row, reason: str) -> None:
    before = rows.in_production(unit, model.id)
    shown = side_by_side(unit, row.run_id, before, row.id)
    source = {"name": model.name, "version": row.number, "version_id": row.id}
    title = (
        f"{model.name}@{row.number} into production (now: {before.number if before is not None else 'none'})"
    )
    digest = bound("stage_to_prod", row.id, row.digest.hex(), before.id if before is not None else None)
    target = {"stage": "production", "before": before.id if before is not None else None}
    _request(unit, id_, "stage_to_prod", source, target, shown, title, digest, reason)


def _ask_for_model(unit: Unit, id_: str, body: PromoteModelIn) -> None:
    run_id, name = _member(body.from_, "run_id"), _member(body.to, "name")
    path = str(body.from_.get("path", "")).strip("/")
    model = rows.model_of(unit, name)
    source = f"runs:/{run_id}/{path}".rstrip("/")
    files = files_of(unit, _version(name, source))
    if not files:
        raise Problem("not_found", f"{source[:200]} has no files", hint="Name the folder of the model.")
    shown = side_by_side(unit, run_id, rows.in_production(unit, model.id), run_id) | {"files": files}
    digest = bound("run_to_model", source, name, rows.digest_of(files).hex())
    said = {"run_id": run_id, "path": path, "source": source}
    _request(
        unit,
        id_,
        "run_to_model",
        said,
        {"name": name},
        shown,
        f"{source} as a version of {name}",
        digest,
        body.reason,
    )


def _version(name: str, source: str) -> CreateVersionIn:
    try:
        return CreateVersionIn(name=name, source=source)
    except ValidationError:
        raise _unsaid("run_id") from None


def _open_pull(unit: Unit, id_: str, body: PromoteModelIn) -> None:
    """A branch's way to main is a pull with checks and an approval of its own: with it this promotion is applied."""
    repo, branch = _member(body.from_, "repo_name"), _member(body.from_, "branch")
    target = str(body.to.get("target", "main"))
    title = (body.reason or f"Promote {branch}").splitlines()[0][:200]
    wanted = workspaces.PromoteIn(repo_name=repo, branch=branch, target=target, title=title)
    pull = workspaces.promote(unit, wanted).body
    result = {"pull_id": pull.promotion_id, "url": pull.pr_url, "approval_id": pull.approval_id}
    source = {"repo_name": repo, "branch": branch}
    _insert(unit, id_, "sandbox_to_pr", "applied", source, {"target": target}, {}, body.reason, None, result)


def _request(
    unit: Unit, id_: str, kind: PromotionKind, source: dict[str, Any], target: dict[str, Any],
    shown: dict[str, Any], title: str, digest: str, reason: str,
) -> None:  # fmt: skip
    approval_id = approvals.request(
        unit, action=PROMOTE, object_=id_, diff=as_text(title, shown), diff_stat={"promotion_id": id_, "kind": kind},
        diff_hash=digest, reason=f"{title}: {reason}" if reason else title,
        risk="high" if kind == "stage_to_prod" else "medium",
        risk_reasons=["changes what answers in production"] if kind == "stage_to_prod" else [], first=True,
    )  # fmt: skip
    _insert(unit, id_, kind, "requested", source, target | {"digest": digest}, shown, reason, approval_id, {})


def _insert(
    unit: Unit, id_: str, kind: PromotionKind, state: str, source: dict[str, Any], target: dict[str, Any],
    shown: dict[str, Any], reason: str, approval_id: str | None, result: dict[str, Any],
) -> None:  # fmt: skip
    values: dict[str, Any] = {
        "id": id_, "org_id": unit.org_id, "kind": kind, "state": state, "source": source, "target": target,
        "shown": shown, "result": result, "reason": reason, "approval_id": approval_id,
        "requested_by": unit.actor.id, "created_at": unit.now, "updated_at": unit.now,
    }  # fmt: skip
    unit.execute(sa.insert(promotions).values(values))
    payload = {"kind": kind, "from": source, "to": target, "approval_id": approval_id, **result}
    ledger.record(unit, f"promotion.{state}", id_, payload)


# -------------------------------------------------------------------- the verdict, and what follows


def on_verdict(unit: Unit, approval: Approval) -> None:
    """An approval was decided: on a yes the promotion is applied.

    Raises `conflict` where things are no longer as they were shown.
    """
    row = _find(unit, str(approval.diff_stat["promotion_id"]), lock=True)
    if row.state != "requested":
        return
    if approval.state != "approved":
        _change(unit, row, "denied", {})
        return
    _change(unit, row, "approved", {})
    result = (
        _into_production(unit, row) if row.kind == "stage_to_prod" else _into_registry(unit, row, approval)
    )
    _change(unit, row, "applied", result)


def _into_production(unit: Unit, row: rows.Row) -> dict[str, Any]:
    model = rows.model_of(unit, row.source["name"], lock=True)
    version = rows.version_of(unit, model, int(row.source["version"]), lock=True)
    before = rows.in_production(unit, model.id)
    now = bound("stage_to_prod", version.id, version.digest.hex(), before.id if before is not None else None)
    if now != row.target["digest"] or version.stage != "staged":
        raise _moved()
    if before is not None:
        rows.change_version(unit, before.id, stage="retired")
    rows.change_version(unit, version.id, stage="production")
    return {"version_id": version.id, "before": before.id if before is not None else None}


def _into_registry(unit: Unit, row: rows.Row, approval: Approval) -> dict[str, Any]:
    model = rows.model_of(unit, row.target["name"], lock=True)
    body = CreateVersionIn(
        name=model.name, source=row.source["source"], run_id=row.source["run_id"], description=row.reason
    )
    version = made(unit, model, body, row.shown["files"], (approval.id,))
    return {"version_id": version.id, "version": version.number}


def _moved() -> Problem:
    return Problem(
        "conflict",
        "things are no longer as they were shown, so the approval is void",
        hint="Ask for it again.",
    )


def roll_back(unit: Unit, body: RollBackPromotionIn) -> Promotion:
    """Have things as they were before a promotion was applied. Raises `not_found`, `illegal_transition`."""
    may(unit, PROMOTE)
    row = _find(unit, body.id, lock=True)
    if row.state != "applied" or row.kind == "sandbox_to_pr":
        raise Problem(
            "illegal_transition", f"this promotion is {row.state} and cannot be taken back",
            hint="What was merged is undone with POST /git/rollback." if row.kind == "sandbox_to_pr" else
            "Only what was applied is taken back.",
        )  # fmt: skip
    model, version = rows.by_id(unit, row.result["version_id"])
    rows.model_of(unit, model.name, lock=True)
    if row.kind == "stage_to_prod":
        if version.stage != "production":
            raise Problem(
                "illegal_transition",
                "another version has come into production since",
                hint="Roll that one back.",
            )
        rows.change_version(unit, version.id, stage="staged")
        if row.result["before"] is not None and rows.by_id(unit, row.result["before"])[1].gone_at is None:
            rows.change_version(unit, row.result["before"], stage="production")
    else:
        check_step(version, "retired")
        rows.change_version(unit, version.id, stage="retired")
    _change(unit, row, "rolled_back", {**row.result, "why": body.reason})
    return _shown(_find(unit, body.id))


def _change(unit: Unit, row: rows.Row, state: str, result: dict[str, Any]) -> None:
    values = {"state": state, "updated_at": unit.now} | ({"result": result} if result else {})
    unit.execute(sa.update(promotions).where(promotions.c.id == row.id).values(values))
    ledger.record(unit, f"promotion.{state}", row.id, {"kind": row.kind, "from": row.source, **result})


def show_promotion(unit: Unit, body: WhichPromotionIn) -> Promotion:
    """One promotion with what was shown for it. Raises `not_found`."""
    may(unit, READ)
    return _shown(_find(unit, body.id))


def list_promotions(unit: Unit, body: ListPromotionsIn) -> PromotionList:
    """Promotions, newest first."""
    may(unit, READ)
    c = promotions.c
    key = list_key("promotions", kind=body.kind, state=body.state)
    wanted = sa.select(promotions).order_by(c.id.desc()).limit(body.limit + 1)
    for column, value in ((c.kind, body.kind), (c.state, body.state)):
        wanted = wanted.where(column == value) if value is not None else wanted
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    found = unit.execute(wanted).all()
    items = [_shown(row) for row in found[: body.limit]]
    more = len(found) > body.limit
    return PromotionList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def _find(unit: Unit, id_: str, *, lock: bool = False) -> rows.Row:
    wanted = sa.select(promotions).where(promotions.c.id == id_)
    row = unit.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no such promotion", hint="List the promotions first.")
    return row


def _shown(row: rows.Row) -> Promotion:
    target = {name: value for name, value in row.target.items() if name != "digest"}
    return Promotion.model_validate({
        "id": row.id, "kind": row.kind, "state": row.state, "from": row.source, "to": target, "shown": row.shown,
        "reason": row.reason, "approval_id": row.approval_id, "result": row.result, "requested_by": row.requested_by,
        "created_at": row.created_at, "updated_at": row.updated_at,
    })  # fmt: skip
