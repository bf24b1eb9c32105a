"""What a refused program is told about getting a credential, and which part of the server a credential is for.

RFC 6750 §3 (`WWW-Authenticate: Bearer`), RFC 9728 (`resource_metadata`), RFC 8707 (a token is for one resource).
"""

import re
from dataclasses import replace
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Call, perform
from builderos.trust.orgs import service as orgs
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import RequestContext

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_OF_THIS_MACHINE: Final = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?")
METADATA: Final = "/.well-known/oauth-protected-resource"
MCP: Final = "/mcp"
JAIL: Final = "/jail"  # what the credentials of workloads are for; `ops.credential` says so
IN_A_JAIL: Final = "builderos.jail"  # in the scope of a request that came in at the door of jails


def challenge(problem: Problem) -> str | None:
    """The header of a refusal that another credential would lift; None for any other."""
    if problem.status == 401:
        known = problem.code != "unauthenticated"
        more = ', error="invalid_token"' if known else f', scope="{" ".join(orgs.grants.USUAL)}"'
        return f'Bearer realm="builderos"{more}'
    if problem.status == 403 and "scope" in problem.extra:
        return f'Bearer realm="builderos", error="insufficient_scope", scope="{problem.extra["scope"]}"'
    return None


def missing_scope(context: Context, call: Call, refused: policy.Refused) -> str | None:
    """The scope for want of which a member's token was refused; None where it was the role, or something else."""
    held = call.actor.scopes
    lacking = [scope for scope in orgs.grants.OF_ROLE.get(call.actor.role, ()) if scope not in held]
    if not lacking or refused.status != 403:
        return None
    circumstances = RequestContext(paths=refused.paths)

    def would_open(scope: str) -> bool:
        wider = replace(call, actor=replace(call.actor, scopes=held | {scope}))
        decided = perform(
            context, wider,
            lambda unit: policy.decide(unit, refused.action, refused.resource, circumstances), read_only=True,
        )  # fmt: skip
        return decided.verdict != "deny"

    return next(filter(would_open, lacking), None)


def base_url(settings: Settings, scope: Scope, headers: Headers) -> str:
    """The address by which the caller knows this server.

    The Host of a request is believed where the edge lets only names of this machine through.
    """
    name = headers.get("host", "")
    local = settings.public_url is None and settings.host in LOOPBACK
    if local and _OF_THIS_MACHINE.fullmatch(name):
        return f"{scope['scheme']}://{name}"
    return orgs.signing_in.public_url(settings)


def audience_of(path: str) -> str:
    """The part of the server that a path belongs to, as tokens name it: `/mcp`, `/mcp/acme`, or all of it."""
    return path.rstrip("/") if path == MCP or path.startswith(MCP + "/") else ""


def is_for(audience: str, part: str) -> bool:
    """Whether a credential for `audience` is good for that part of the server."""
    return audience in ("", part) or part.startswith(audience + "/")


def with_metadata(header: str, base: str, path: str) -> str:
    """The header with the address at which the way to a credential is described."""
    return f'{header}, resource_metadata="{base}{METADATA}{audience_of(path)}"'
