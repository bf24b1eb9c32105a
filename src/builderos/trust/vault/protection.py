"""Push protection: no credential enters a branch unless somebody who answers for the organisation says so.

`suspects` looks at what is new in one file and needs no database. `refuse` holds what it found against the lists and
exceptions of the organisation. Where nothing is found nothing is asked, so that an ordinary commit pays for the search
alone.
"""

import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from builderos.core.keys import ServerKeys
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource
from builderos.trust.secrets import service as secrets

from .model import secret_findings as table

RULE: Final = "push-protection"
MAX_TOLD: Final = 20
UNREAD: Final = "too-many"
_NAMED: Final = 5
_SEARCHED: Final = 100  # credentials of one file that are searched for, each, in what stood before
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
    file, and tells nothing of the credential. Where there are more than are looked at, one suspect more stands for the
    rest; its fingerprint is of exactly this content.
    """
    data = secrets.as_utf8(data)
    before = _Before(known)
    most = secrets.MAX_FINDINGS
    own = _own(data, kept, before, MAX_TOLD + 1)
    found = secrets.scan(data, path, before.holds, most + 1)
    key, shown = keys.derive("secret-findings"), _shown(path)
    items: dict[str, Suspect] = {}

    def add(line: int, rule: str, kind: str, preview: str, secret: bytes, about: bytes) -> None:
        said = f"{repo_id}\0{shown}\0{rule}\0".encode() + about
        fingerprint = hmac.digest(key, said, "sha256").hex()[:32]
        items.setdefault(fingerprint, Suspect(shown, line, rule, kind, preview, fingerprint, secret))

    for one in [*found[:most], *own[:MAX_TOLD]]:
        secret = secrets.text_at(data, one)
        add(one.line, one.rule, one.kind, one.preview, secret, secret)
    for rest in (*found[most:], *own[MAX_TOLD:]):
        add(rest.line, UNREAD, "more credentials than are looked at", "from here on", b"", data)
    return list(items.values())


class _Before:
    """What stood there before a change; read when the first credential is found."""

    def __init__(self, known: Callable[[], Iterable[bytes]]) -> None:
        self._known = known
        self._asked = 0

    def holds(self, secret: bytes) -> bool:
        """Whether a credential is not new.

        Each search costs the whole text: behind the first ones only what is found there as a credential counts.
        """
        self._asked += 1
        if self._asked <= _SEARCHED:
            return any(secret in text for text in self._texts)
        return secret in self._values

    @cached_property
    def _texts(self) -> list[bytes]:
        return [secrets.as_utf8(text) for text in self._known()]

    @cached_property
    def _values(self) -> set[bytes]:
        return set[bytes]().union(*map(secrets.values_in, self._texts))


def _own(data: bytes, kept: secrets.Redactor, before: _Before, limit: int) -> list[secrets.Finding]:
    """Secrets of the organisation that are new in a file, each once, at most `limit`."""
    found: list[secrets.Finding] = []
    seen: set[bytes] = set()
    for start, end in kept.spans(data):
        secret = data[start:end]
        if secret in seen:
            continue
        seen.add(secret)
        if before.holds(secret):
            continue
        line, size = data.count(b"\n", 0, start) + 1, f"({end - start} characters)"
        found.append(secrets.Finding("kept-secret", "secret of the vault", line, start, end, size))
        if len(found) >= limit:
            break
    return found


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
    asked = sa.cast([s.fingerprint for s in left], ARRAY(sa.Text))  # one parameter, however many they are
    wanted = sa.select(table.c.fingerprint).where(
        table.c.fingerprint == sa.any_(asked), table.c.allowed_until > unit.now
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
