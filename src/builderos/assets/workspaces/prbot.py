"""PRBot: comments a summary on promotions and approves tiny, harmless ones outside main. Off by default."""

import re
from dataclasses import dataclass
from typing import Final

import pygit2

from builderos.assets.repositories.schema import Branch
from builderos.core.actor import system_actor
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import RequestContext, Resource

from .merging import Preview
from .writing import DiffStat

# Policy, workflow, secret and dependency files are never PRBot's to approve, however small the change.
_PROTECTED: Final = re.compile(
    r"(?:^|/)(?:builderos[^/]*\.ya?ml|\.env[^/]*|[^/]*\.(?:pem|key|p12|pfx|jks)|id_[a-z0-9]+|\.npmrc|\.pypirc|\.netrc"
    r"|requirements[^/]*\.(?:txt|in|lock)|[^/]*\.lock|package(?:-lock)?\.json|pnpm-lock\.yaml|pyproject\.toml|setup\.(?:py|cfg)"
    r"|Pipfile|Cargo\.toml|go\.(?:mod|sum)|Gemfile|Dockerfile[^/]*|Makefile|CODEOWNERS|\.git[a-z]+)$"
    r"|^\.github/|^\.gitlab|^\.ci/|^ship/|^policies?/",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Verdict:
    """What PRBot thinks of a promotion."""

    approves: bool
    summary: str


def judge(unit: Unit, target: Branch, stat: DiffStat, found: Preview) -> Verdict:
    """Approve only: target sandbox or dev, no more changed lines than policy file or settings say, no protected path,
    no binary file.
    """
    lines = sum(_lines(found, path, old, new) for path, old, new in found.files)
    reasons: list[str] = []
    if target.kind not in ("sandbox", "dev"):
        reasons.append(f"{target.name} always needs a person")
    wanted = policy.document_in_force(unit).prbot_lines
    most = unit.settings.prbot_max_lines if wanted is None else wanted
    if lines > most:
        reasons.append(f"{lines} changed lines are more than {most}")
    reasons += [f"{path} is protected" for path, _, _ in found.files if _PROTECTED.search(path)]
    reasons += [
        f"{path} is binary" for path, old, new in found.files if _binary(found, old) or _binary(found, new)
    ]
    summary = f"{len(found.files)} files, +{stat.added} −{stat.deleted} lines with delivery files."
    if reasons:
        return Verdict(False, f"{summary} A person should look: {'; '.join(reasons[:5])}.")
    return Verdict(True, f"{summary} Small and harmless: approved.")


def may_merge(unit: Unit, resource: Resource, context: RequestContext) -> tuple[str, ...]:
    """The policy's word on PRBot's own merge; raises `Refused`."""
    decision = unit.get(policy.Policy).decide(system_actor(unit.org_id), "pull.merge", resource, context)
    if decision.verdict != "allow":
        raise policy.Refused(decision, "pull.merge", resource)
    return ("prbot", *decision.rules)


def _blob(found: Preview, oid: str) -> bytes:
    return found.batch.read(bytes.fromhex(oid))[1] if oid else b""


def _binary(found: Preview, oid: str) -> bool:
    return b"\0" in _blob(found, oid)[:8000]


def _lines(found: Preview, path: str, old: str, new: str) -> int:
    _, added, deleted = pygit2.Patch.create_from(_blob(found, old), _blob(found, new), path, path).line_stats
    return added + deleted
