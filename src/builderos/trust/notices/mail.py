"""Letters about what waits: who gets one is decided when it happens, what it says when it leaves."""

import unicodedata
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.clock import rfc3339
from builderos.core.context import Context
from builderos.core.unit import Unit, as_system
from builderos.engine import outbox
from builderos.trust.identity import service as identity
from builderos.trust.policy.service import approvals, waiting
from builderos.trust.secrets.service import redact

from .inbox import preferences_of
from .model import alerts
from .ports import Directory, Questions

KIND: Final = "mail.notice"
_SEVERITIES: Final = ("info", "warning", "critical")
_MANAGERS: Final = frozenset({"org_owner", "admin"})
_FILES: Final = 15
_SUBJECT: Final = 120
_WORDS: Final = {
    "pull.merge": "merge a promotion",
    "git.release": "make a release",
    "policy.activate": "put a policy file into force",
}


def to_deciders(unit: Unit, approval_id: str) -> None:
    """Write to every person who may decide about a request and wants such mail, but not to whoever asked."""
    asked = approvals.find(unit, approval_id)
    asked_by = approvals.member_behind(unit, approval_id)
    named = set(asked.required["from"])
    members = [
        member.id for member in identity.members.everybody(unit)
        if member.kind == "person" and approvals.roles_named(member.role) in named
        and asked_by not in identity.members.programs_of(unit, member.id) | {member.id}
    ]  # fmt: skip
    wanted = preferences_of(unit, members)
    _put(unit, approval_id, [id_ for id_ in members if wanted[id_]["mail_approvals"]])


def to_answerers(unit: Unit, question: str) -> None:
    """Write to every person who may answer a question that is open and wants mail about what waits for them."""
    members = unit.get(Questions).answerers(unit, question)
    wanted = preferences_of(unit, members)
    _put(unit, question, [id_ for id_ in members if wanted[id_]["mail_approvals"]])


def to_managers(unit: Unit, alert_id: str, severity: str) -> None:
    """Write to owners and admins who want mail about alerts of this severity."""
    members = [
        m.id for m in identity.members.everybody(unit) if m.kind == "person" and m.role in _MANAGERS
    ]  # fmt: skip
    wanted = preferences_of(unit, members)
    _put(unit, alert_id, [id_ for id_ in members if _counts(severity, wanted[id_]["mail_alerts"])])


def letter_of(context: Context, message: outbox.Message) -> tuple[str, str, str] | None:
    """Address, subject and text; None where it is over by now, or the person has left."""
    item, member = str(message.payload["item"]), str(message.payload["member"])

    def verb(unit: Unit) -> tuple[str, str, str] | None:
        address = context.get(Directory).address_of(unit, member)
        about = {"apr": _about_approval, "qst": _about_question}.get(item.partition("_")[0], _about_alert)
        said = about(unit, item)
        return (address, *said) if address is not None and said is not None else None

    return as_system(context, message.org_id, verb, read_only=True)


def _put(unit: Unit, item: str, members: list[str]) -> None:
    for member in members:
        outbox.put(unit, KIND, f"{item}:{member}", {"item": item, "member": member})


def _counts(severity: str, least: str) -> bool:
    return least != "none" and _SEVERITIES.index(severity) >= _SEVERITIES.index(least)


def _about_approval(unit: Unit, id_: str) -> tuple[str, str] | None:
    asked = approvals.find(unit, id_)
    if asked.state != "pending":
        return None
    quorum, link = waiting.quorum(asked), approvals.link_to(unit.settings, id_)
    facts = [
        ("What", _WORDS.get(asked.action, asked.action)),
        ("Why", plain(asked.reason, 500)),
        ("Risk", plain("; ".join((asked.risk, *asked.risk_reasons)), 500)),
        ("Asked by", plain(asked.requested_by)),
        ("Prompt version", plain(asked.prompt_version or "not told")),
        ("Change", _stat(asked.diff_stat)),
        ("Decided by", f"{' or '.join(quorum.roles)}: {quorum.given} of {quorum.needed} so far"),
        ("Open until", rfc3339(asked.expires_at)),
    ]
    files = "".join(f"    {plain(name)}\n" for name in _files(asked.diff))
    text = (
        "Somebody asks for your yes or no.\n\n"
        + "".join(f"{name + ':':<16}{value}\n" for name, value in facts)
        + (f"Files:\n{files}" if files else "")
        + f"\nSee exactly the change, and decide:\n\n  {link}\n  builderos approvals {id_}\n"
        f"  builderos approve {id_}\n  builderos deny {id_} -m 'why'\n\n"
        "Your yes counts for exactly this change: if it changes, it needs a new one.\n"
    )
    return plain(f"Approval wanted ({asked.risk} risk): {asked.reason}", _SUBJECT), text


def _about_question(unit: Unit, id_: str) -> tuple[str, str] | None:
    asked = unit.get(Questions).find(unit, id_)
    if asked is None:
        return None
    text = (
        f"A run waits for an answer.\n\nRun:        {asked.run_id}\nQuestion:   {plain(asked.message, 1000)}\n"
        f"Open until: {rfc3339(asked.expires_at)}\n\n"
        f"  builderos run show {asked.run_id}\n  builderos answer {asked.run_id} 'your answer'\n"
    )
    return plain(f"A question: {asked.message}", _SUBJECT), text


def _about_alert(unit: Unit, id_: str) -> tuple[str, str] | None:
    row = unit.execute(sa.select(alerts).where(alerts.c.id == id_, alerts.c.state == "open")).one_or_none()
    if row is None:
        return None
    rule = row.rule.replace("_", " ")
    details = "".join(f"    {plain(str(k))}: {plain(str(v))}\n" for k, v in sorted(row.detail.items()))
    text = (
        f"Alert:     {rule}\nSeverity:  {row.severity}\nAbout:     {plain(row.object)}\n"
        f"Since:     {rfc3339(row.first_at)}\nDetails:\n{details}\n"
        f"  builderos alert list\n  builderos alert ack {id_}\n"
    )
    return plain(f"Alert ({row.severity}): {rule} {row.object}", _SUBJECT), text


def plain(text: str, limit: int = 200) -> str:
    """Foreign words as one line without anything that hides, reorders, breaks a line, or is a credential."""
    shown = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in redact(text))
    return " ".join(shown.split())[:limit]


def _stat(stat: dict[str, Any]) -> str:
    return f"{stat.get('files', 0)} files, +{stat.get('added', 0)} -{stat.get('deleted', 0)} lines"


def _files(diff: str) -> list[str]:
    """Names of the first changed files of a diff."""
    names = waiting.files_in(diff)
    return names[:_FILES] + (["…"] if len(names) > _FILES else [])
