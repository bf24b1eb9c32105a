"""Push protection: no credential enters a branch unless somebody who answers for the organisation says so.

`suspects` looks at what is new in one file and needs no database. `refuse` holds what it found against the lists and
exceptions of the organisation. Where nothing is found nothing is asked, so that an ordinary commit pays for the search
alone.
"""

import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.keys import ServerKeys
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource
from builderos.trust.secrets import service as secrets

from .model import secret_findings as table

RULE: Final = "push-protection"
MAX_TOLD: Final = 20
_NAMED: Final = 5
_LONGEST: Final = 300


@dataclass(frozen=True)
class Suspect:
    """A credential that is new in a file. `secret` lives as long as the call and is shown to nobody."""

    path: str
    line: int
    rule: str
    kind: str
    preview: str
    fingerprint: str
    secret: bytes = field(repr=False)


class CredentialFound(policy.Refused):
    """What was to be written holds a credential; `suspects` says where."""

    def __init__(
        self, action: policy.Action, resource: Resource, suspects: Sequence[Suspect], hint: str
    ) -> None:
        decision = policy.Decision("deny", (RULE,), "policy_denied", hint, "")
        super().__init__(decision, action, resource, tuple(dict.fromkeys(s.path for s in suspects)))
        self.suspects = suspects
        self.detail = _detail(suspects)
        self.extra |= {"findings": [_told(s) for s in suspects[:MAX_TOLD]], "found": len(suspects)}
        self.noted |= {
            "findings": [{"path": s.path, "line": s.line, "rule": s.rule, "fingerprint": s.fingerprint}
                         for s in suspects[:MAX_TOLD]],
            "found": len(suspects),
        }  # fmt: skip


def _told(s: Suspect) -> dict[str, Any]:
    return {
        "path": s.path, "line": s.line, "rule": s.rule, "kind": s.kind, "preview": s.preview,
        "fingerprint": s.fingerprint,
    }  # fmt: skip


def _detail(suspects: Sequence[Suspect]) -> str:
    count = len(suspects)
    places = "; ".join(f"{s.path}:{s.line}: {s.kind} {s.preview}" for s in suspects[:_NAMED])
    more = f"; and {count - _NAMED} more" if count > _NAMED else ""
    what = "This holds a credential" if count == 1 else f"This holds {count} credentials"
    return f"{what}: {places}{more}"


def suspects(
    keys: ServerKeys,
    repo_id: str,
    path: str,
    data: bytes,
    known: Callable[[], Iterable[bytes]],
    kept: secrets.Redactor,
) -> list[Suspect]:
    """Credentials in `data`, the new content of a file, that none of `known()` (contents of before) holds.

    `kept` finds the organisation's own secrets, which have no form of their own.

    A fingerprint is of the file and the credential together, under a key of the server: it survives a move within the
    file, and tells nothing of the credential.
    """
    data = secrets.as_utf8(data)
    found = [*secrets.scan(data, path), *_own(data, kept)]
    if not found:
        return []
    before = list(known())
    key, shown = keys.derive("secret-findings"), _shown(path)
    items: dict[str, Suspect] = {}
    for one in found:
        secret = secrets.text_at(data, one)
        if any(secret in text for text in before):
            continue
        about = f"{repo_id}\0{shown}\0{one.rule}\0".encode() + secret
        fingerprint = hmac.digest(key, about, "sha256").hex()[:32]
        items.setdefault(
            fingerprint, Suspect(shown, one.line, one.rule, one.kind, one.preview, fingerprint, secret)
        )
    return list(items.values())


def _own(data: bytes, kept: secrets.Redactor) -> list[secrets.Finding]:
    return [
        secrets.Finding(
            "kept-secret",
            "secret of the vault",
            data.count(b"\n", 0, start) + 1,
            start,
            end,
            f"({end - start} characters)",
        )
        for start, end in kept.spans(data)[:MAX_TOLD]
    ]


def _shown(path: str) -> str:
    """A path fit for JSON and a terminal."""
    text = path.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else "?" for c in text[:_LONGEST])


def refuse(
    unit: Unit, action: policy.Action, resource: Resource, found: Sequence[Suspect], *, advice: str = ""
) -> None:
    """Raise `CredentialFound` for suspects that neither the policy file nor an exception lets through.

    Each of them is kept with its place (never with its text), so that an owner or admin can allow it.
    """
    left = unallowed(unit, found)
    if not left:
        return
    for suspect in left[:MAX_TOLD]:
        unit.keep(partial(_keep, suspect=suspect, resource=resource))
    hint = (
        f"Take it out{advice}, and end it where it was issued if others may have seen it; keep secrets with "
        "`builderos secret set`. If it opens nothing, an owner or admin may say so: "
        f"builderos secret allow {left[0].fingerprint} --reason '…'; then try again."
    )
    raise CredentialFound(action, resource, left, hint)


def unallowed(unit: Unit, found: Sequence[Suspect]) -> list[Suspect]:
    """The suspects that nothing lets through now."""
    if not found:
        return []
    lists = policy.push_lists(unit)
    left = [s for s in found if not lists.ignores(s.path, s.secret.decode("utf-8", "replace"))]
    if not left:
        return []
    wanted = sa.select(table.c.fingerprint).where(
        table.c.fingerprint.in_([s.fingerprint for s in left]), table.c.allowed_until > unit.now
    )
    allowed = {row.fingerprint for row in unit.execute(wanted)}
    return [s for s in left if s.fingerprint not in allowed]


def _keep(unit: Unit, *, suspect: Suspect, resource: Resource) -> None:
    values = {
        "org_id": unit.org_id, "fingerprint": suspect.fingerprint, "repo_id": resource.repo_id,
        "branch": resource.branch or "", "path": suspect.path, "line": suspect.line, "rule": suspect.rule,
        "preview": suspect.preview, "actor": unit.actor.id, "first_at": unit.now, "last_at": unit.now, "times": 1,
    }  # fmt: skip
    again = {"line": suspect.line, "branch": values["branch"], "actor": unit.actor.id, "last_at": unit.now,
             "times": table.c.times + 1}  # fmt: skip
    unit.execute(
        insert(table)
        .values(values)
        .on_conflict_do_update(index_elements=["org_id", "fingerprint"], set_=again)
    )
