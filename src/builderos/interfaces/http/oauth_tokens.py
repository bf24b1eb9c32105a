"""The door at which programs get tokens: metadata, registration, token, revocation and device endpoints.

RFC 8414, 9728 (metadata), 7591 (registration), 6749 and OAuth 2.1 (token), 7009 (revocation), 8628 (devices).
"""

import time
from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from builderos.core.application import Application
from builderos.core.problems import Problem
from builderos.trust.orgs import service as orgs
from builderos.trust.orgs.schema import is_slug

from .challenge import MCP, METADATA
from .doorway import Doorway, incoming
from .forms import Refusal, Values, body_of, client_secret, read
from .problem import problem_response
from .strict import read_json

DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_GRANTS: Final = ["authorization_code", "refresh_token", DEVICE]
_METHODS: Final = ["none", "client_secret_basic", "client_secret_post"]
_OF_PROBLEM: Final = {
    "token_invalid": "invalid_grant", "not_found": "invalid_grant", "unauthenticated": "invalid_client",
    "validation_failed": "invalid_scope", "policy_denied": "access_denied",
}  # fmt: skip
_STATES: Final = {
    "pending": ("authorization_pending", "nobody has decided yet"),
    "slow_down": ("slow_down", "wait longer between two questions"),
    "denied": ("access_denied", "the member said no"),
    "expired": ("expired_token", "the code is too old"),
    "unknown": ("invalid_grant", "there is no such device code"),
}


class Tokens(Doorway):
    """The endpoints that programs call by themselves."""

    async def resource(self, request: Request) -> Response:
        """Describe a part of this server that tokens are for."""
        part = request.url.path.removeprefix(METADATA)
        slug = part.removeprefix(MCP + "/")
        if part not in ("", MCP) and (not part.startswith(MCP + "/") or not is_slug(slug)):
            raise Problem("not_found", "there is no such resource", hint=f"Look at {METADATA}.")
        base = self._base(request)
        return JSONResponse(
            {
                "resource": base + part, "authorization_servers": [base], "bearer_methods_supported": ["header"],
                "scopes_supported": list(orgs.grants.SCOPES), "resource_name": "BuilderOS",
            }
        )  # fmt: skip

    async def server(self, request: Request) -> Response:
        """Describe the endpoints of signing a program in."""
        base = self._base(request)
        return JSONResponse(
            {
                "issuer": base,
                "authorization_endpoint": f"{base}/oauth/authorize",
                "token_endpoint": f"{base}/oauth/token",
                "registration_endpoint": f"{base}/oauth/register",
                "revocation_endpoint": f"{base}/oauth/revoke",
                "device_authorization_endpoint": f"{base}/oauth/device_authorization",
                "scopes_supported": list(orgs.grants.SCOPES),
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": _GRANTS,
                "token_endpoint_auth_methods_supported": _METHODS,
                "revocation_endpoint_auth_methods_supported": _METHODS,
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def token(self, request: Request) -> Response:
        """Give tokens for a code, a refresh token or a device code."""
        return await self._answer(self._token, request)

    async def revoke(self, request: Request) -> Response:
        """End a token of the program and all that belongs to the same sign-in."""
        return await self._answer(self._revoke, request)

    async def device(self, request: Request) -> Response:
        """Begin the sign-in of a program on a machine without a browser."""
        return await self._answer(self._device, request)

    async def register(self, request: Request) -> Response:
        """Let a program register itself."""
        sent = read_json(await request.body())
        return await self._in_thread(self._register, request, sent)

    async def _answer(self, work: Callable[[Request, Values], dict[str, Any]], request: Request) -> Response:
        def answer(request: Request, text: str) -> Response:
            try:
                return JSONResponse(work(request, read(text)[0]))
            except Refusal as refusal:
                return _refused(refusal, request)
            except Problem as problem:
                if problem.code not in _OF_PROBLEM:
                    return problem_response(problem, incoming(request).request_id)
                status = 401 if problem.code == "unauthenticated" else 400
                return _refused(Refusal(_OF_PROBLEM[problem.code], problem.detail, status), request)

        try:
            text = await body_of(request)
        except Refusal as refusal:
            return _refused(refusal, request)
        return await self._in_thread(answer, request, text)

    # ------------------------------------------------------------ in a worker thread

    def _client(self, request: Request, values: Values) -> orgs.clients.Client:
        id_, secret = client_secret(request, values)
        try:
            return orgs.clients.proven(self._database, self._hasher, id_, secret)
        except Problem:
            self._suspect(request)
            raise

    def _token(self, request: Request, values: Values) -> dict[str, Any]:
        client = self._client(request, values)
        kinds = {
            "authorization_code": self._of_code,
            "refresh_token": self._of_refresh,
            DEVICE: self._of_device,
        }
        kind = kinds.get(values.get("grant_type", ""))
        if kind is None:
            raise Refusal("unsupported_grant_type", "use one of the grant types of the metadata")
        given = kind(request, client, values)
        return {
            "access_token": given.tokens.access_token, "token_type": "Bearer",
            "expires_in": given.tokens.expires_in_s, "refresh_token": given.tokens.refresh_token,
            "scope": " ".join(given.scopes), "org_slug": given.tokens.org_slug,
        }  # fmt: skip

    def _of_code(self, request: Request, client: orgs.clients.Client, values: Values) -> orgs.grants.Given:
        code, uri = _wanted(values, "code"), _wanted(values, "redirect_uri")
        org_id = self._org_of(request, code)
        resource = values.get("resource")
        audience = audience_in(resource, self._base(request)) if resource is not None else None
        return self._counted(
            request, org_id,
            lambda unit: orgs.grants.redeem(unit, client, code, uri, values.get("code_verifier"), audience),
        )  # fmt: skip

    def _of_refresh(self, request: Request, client: orgs.clients.Client, values: Values) -> orgs.grants.Given:
        secret = _wanted(values, "refresh_token")
        org_id = self._org_of(request, secret)
        resource = values.get("resource")
        audience = audience_in(resource, self._base(request)) if resource is not None else None
        return self._counted(
            request, org_id,
            lambda unit: orgs.grants.refresh(unit, client, secret, values.get("scope"), audience),
        )  # fmt: skip

    def _of_device(self, request: Request, client: orgs.clients.Client, values: Values) -> orgs.grants.Given:
        secret = _wanted(values, "device_code")
        state, org_id = orgs.devices.poll(self._database, self._hasher, client, secret)
        if state != "approved":
            if state == "unknown":
                self._suspect(request)
            raise Refusal(*_STATES[state])
        return self._counted(request, org_id, lambda unit: orgs.devices.redeem(unit, client, secret))

    def _revoke(self, request: Request, values: Values) -> dict[str, Any]:
        client, secret = self._client(request, values), _wanted(values, "token")
        org_id = orgs.sessions.organisation_of(self._database, self._hasher, secret)
        if org_id is None:
            org_id = orgs.sessions.organisation_of_access(self._database, self._hasher, secret)
        if org_id is not None:  # an unknown token is answered alike (RFC 7009 §2.2)
            self._perform(request, org_id, lambda unit: orgs.grants.revoke(unit, client, secret))
        return {}

    def _device(self, request: Request, values: Values) -> dict[str, Any]:
        client = self._client(request, values)
        self._rates.hit("invalid_tokens", f"devices {incoming(request).caller}")
        base = self._base(request)
        wish = orgs.grants.Wish(client, wished(values), audience_in(values.get("resource"), base))
        shown = orgs.devices.begin(self._database, self._hasher, wish)
        return {
            "device_code": shown.secret, "user_code": shown.user_code, "verification_uri": f"{base}/device",
            "verification_uri_complete": f"{base}/device?user_code={shown.user_code}",
            "expires_in": int(orgs.devices.LIFE.total_seconds()), "interval": orgs.devices.INTERVAL_S,
        }  # fmt: skip

    def _register(self, request: Request, sent: Any) -> Response:
        try:
            self._rates.hit("anonymous_inits", f"oauth {incoming(request).caller}")
            return JSONResponse(self._registered(sent), 201)
        except Refusal as refusal:
            return _refused(refusal, request)

    def _registered(self, sent: Any) -> dict[str, Any]:
        asked = _metadata(sent)
        method = asked.get("token_endpoint_auth_method") or "none"
        if method not in _METHODS:
            raise Refusal("invalid_client_metadata", "a program proves itself by PKCE or by a secret")
        try:
            made = orgs.clients.register(
                self._database, self._hasher, str(asked.get("client_name") or ""), tuple(asked["redirect_uris"]),
                confidential=method != "none",
            )  # fmt: skip
        except Problem as problem:
            raise Refusal("invalid_redirect_uri", problem.detail) from None
        secret = {"client_secret": made.secret, "client_secret_expires_at": 0} if made.secret else {}
        return {
            "client_id": made.client.id, "client_id_issued_at": int(time.time()), "client_name": made.client.name,
            "redirect_uris": list(made.client.redirect_uris), "token_endpoint_auth_method": method,
            "grant_types": _GRANTS, "response_types": ["code"], **secret,
        }  # fmt: skip

    def _org_of(self, request: Request, secret: str) -> str:
        org_id = orgs.sessions.organisation_of(self._database, self._hasher, secret)
        if org_id is None:
            self._suspect(request)
            raise orgs.grants.refused()
        return org_id

    def _counted(
        self, request: Request, org_id: str, verb: Callable[[Any], orgs.grants.Given]
    ) -> orgs.grants.Given:
        try:
            return self._perform(request, org_id, verb)
        except Problem:
            self._suspect(request)
            raise


def audience_in(resource: str | None, base: str) -> str:
    """The part of this server that a program names (RFC 8707). Raises `Refusal("invalid_target")`."""
    part = (resource or base).removeprefix(base).rstrip("/")
    slug = part.removeprefix(MCP + "/")
    known = part in ("", MCP) or (part.startswith(MCP + "/") and is_slug(slug))
    if not (resource or base).startswith(base) or not known:
        raise Refusal("invalid_target", "the resource is no part of this server")
    return part


def wished(values: Values) -> tuple[str, ...]:
    """The scopes that a program asks for. Raises `Refusal("invalid_scope")`."""
    found = orgs.grants.scopes_in(values.get("scope"))
    if not found:
        raise Refusal("invalid_scope", f"the scopes are {' '.join(orgs.grants.SCOPES)}")
    return found


def _wanted(values: Values, name: str) -> str:
    if name not in values:
        raise Refusal("invalid_request", f"{name} is missing")
    return values[name]


def _metadata(sent: Any) -> dict[str, Any]:
    """What a program says of itself; members that we do not know are passed over (RFC 7591 §2)."""
    if not isinstance(sent, dict):
        raise Refusal("invalid_client_metadata", "the body is a JSON object")
    asked: dict[str, Any] = sent  # pyright: ignore[reportUnknownVariableType]
    uris = asked.get("redirect_uris")
    if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in uris):  # pyright: ignore[reportUnknownVariableType]
        raise Refusal("invalid_redirect_uri", "redirect_uris is a list of addresses")
    for name in ("client_name", "token_endpoint_auth_method"):
        if not isinstance(asked.get(name, ""), str | None):
            raise Refusal("invalid_client_metadata", f"{name} is a text")
    return asked


def _refused(refusal: Refusal, request: Request) -> Response:
    headers = {"www-authenticate": 'Basic realm="builderos"'} if refusal.status == 401 else {}
    said = {"error": refusal.error, "error_description": refusal.description}
    return JSONResponse({**said, "request_id": incoming(request).request_id}, refusal.status, headers)


def add_oauth(api: FastAPI, app: Application) -> None:
    """Add the endpoints; their contract is the metadata that they serve, and the standards it follows."""
    door = Tokens(app)
    for method, path, handler in (
        ("GET", METADATA, door.resource),
        ("GET", METADATA + MCP, door.resource),
        ("GET", METADATA + MCP + "/{slug}", door.resource),
        ("GET", "/.well-known/oauth-authorization-server", door.server),
        ("POST", "/oauth/token", door.token),
        ("POST", "/oauth/revoke", door.revoke),
        ("POST", "/oauth/register", door.register),
        ("POST", "/oauth/device_authorization", door.device),
    ):
        api.add_api_route(path, handler, methods=[method], include_in_schema=False)
