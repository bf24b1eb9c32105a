"""The door of signing in: mailed links, the OpenID Connect provider, browser cookies, refresh tokens.

These calls have no credential yet, so they are no operations of the registry: each finds its organisation first.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Final, TypeAlias

from fastapi import Body, FastAPI, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import Field

from builderos.core.application import Application
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.orgs import schema
from builderos.trust.orgs import service as orgs
from builderos.trust.orgs.ports import Errand, IdentityProvider, Person, Providers

from . import pages, sign_in_page
from .contract import PROBLEM
from .cookies import BROWSER, NEXT, SESSION, Cookies
from .doorway import Doorway, incoming

Start: TypeAlias = tuple[orgs.signing_in.Begun, str]
BROWSER_S: Final = int(orgs.signing_in.LIFE.total_seconds())
SESSION_S: Final = int(orgs.sessions.IDLE.total_seconds())
CALLBACK: Final = "/v1/auth/oidc/callback"
SENT: Final = (
    "If that address belongs to a member, a link is on its way. It is good for 15 minutes, in this browser."
)


class LinkIn(In):
    """Who wants to sign in, and where."""

    email: schema.Email
    org_slug: schema.Slug = identity.DEFAULT_ORG_SLUG


class FollowIn(In):
    """The secret of a mailed link (bos_ml_…)."""

    token: Annotated[Line, Field(max_length=100)]


class JoinIn(In):
    """An invite (bos_in_…), and how the person wants to be called."""

    invite_token: Annotated[Line, Field(max_length=100)]
    name: schema.PersonName = ""


class OpenIn(In):
    """A code for one browser (bos_bc_…)."""

    code: Annotated[Line, Field(max_length=100)]


class RefreshIn(In):
    """A refresh token (bos_rf_…)."""

    refresh_token: Annotated[Line, Field(max_length=100)]


class Sent(Out):
    """What was done; of a link the same for every address."""

    message: str


class Code(Out):
    """A code for one browser, and the address to open there; the code stands behind its #."""

    code: str
    url: str
    expires_in_s: int


class BrowserSession(Out):
    """Who is signed in. `csrf_token` goes into the header X-CSRF-Token of every call that is no read."""

    member_id: str
    role: str
    org_slug: str
    csrf_token: str


class SignedIn(BrowserSession):
    """A fresh session of a browser."""

    session_id: str
    message: str
    next: Annotated[
        str | None, Field(description="The page that asked for this sign-in, as path and query.")
    ] = None


class Door(Doorway):
    """The calls of signing in."""

    async def page(self, request: Request) -> Response:
        """Show the ways to sign in; a mailed link opens this page, too."""
        return await self._in_thread(self._page, request, request.query_params.get("provider"))

    async def script(self) -> Response:
        """The page's script."""
        return Response(sign_in_page.SCRIPT, media_type="text/javascript")

    async def style(self) -> Response:
        """How our pages look."""
        return Response(pages.STYLE, media_type="text/css")

    async def join(self, request: Request, body: Annotated[JoinIn, Body()]) -> Response:
        """Accept an invite in a browser and sign in."""
        return await self._in_thread(self._join, request, body)

    async def send_link(self, request: Request, body: Annotated[LinkIn, Body()]) -> Response:
        """Mail a link to sign in. The answer is the same whoever asks for whom."""
        return await self._in_thread(self._send_link, request, body)

    async def follow_link(self, request: Request, body: Annotated[FollowIn, Body()]) -> Response:
        """Sign in with a mailed link, in the browser that asked for it."""
        return await self._in_thread(self._follow_link, request, body)

    async def code(self, request: Request) -> Response:
        """Make a code that lets one browser in as you: for two minutes, for one use."""
        return await self._in_thread(self._code, request, None)

    async def enter(self, request: Request, body: Annotated[OpenIn, Body()]) -> Response:
        """Sign a browser in with such a code."""
        return await self._in_thread(self._enter, request, body)

    async def refresh(self, request: Request, body: Annotated[RefreshIn, Body()]) -> Response:
        """Exchange a refresh token for the next pair; it is good for one use."""
        return await self._in_thread(self._refresh, request, body)

    async def depart(
        self, request: Request, org_slug: Annotated[schema.Slug, Query()] = identity.DEFAULT_ORG_SLUG,
        provider: Annotated[str | None, Query(max_length=40)] = None,
    ) -> Response:  # fmt: skip
        """Send the browser to the server's OpenID Connect provider, or to one of an organisation."""
        return await self._in_thread(self._depart, request, (org_slug, provider))

    async def arrive(
        self, request: Request, state: Annotated[str, Query(max_length=100)] = "",
        code: Annotated[str, Query(max_length=4000)] = "", iss: Annotated[str | None, Query(max_length=500)] = None,
    ) -> Response:  # fmt: skip
        """Take the browser back from the provider and sign its member in."""
        return await self._in_thread(self._arrive, request, (state, code, iss))

    async def session(self, request: Request) -> Response:
        """Tell a page of ours who is signed in in this browser, and its CSRF token."""
        return await self._in_thread(self._session, request, None)

    async def sign_out(self, request: Request) -> Response:
        """End the session of this browser."""
        return await self._in_thread(self._sign_out, request, None)

    # ------------------------------------------------------------ in a worker thread

    def _page(self, request: Request, named: str | None) -> Response:
        shown = orgs.providers.for_everybody(self._database)
        if named is not None and named not in {provider.id for provider in shown}:
            self._suspect(request)
            org_id = orgs.providers.organisation_of(self._database, named)
            label = self._perform(request, org_id, lambda unit: orgs.providers.label_of(unit, named))
            shown = [orgs.providers.Listed(named, label), *shown]
        own = self._context.get(Providers).provider is not None
        return sign_in_page.sign_in(shown, mail=self._settings.smtp_url is not None, provider=own)

    def _join(self, request: Request, body: JoinIn) -> Response:
        found = identity.authenticate(self._database, self._hasher, body.invite_token)
        if found.actor is None or found.actor.role != "invite":
            self._suspect(request)
            raise orgs.invites.over()
        actor, sent = found.actor, schema.AcceptIn(name=body.name)
        return self._begin(
            request, lambda verb: self._as(request, actor, verb, "acceptInvite@1"),
            lambda unit: orgs.signing_in.accept_invite(unit, sent), None,
        )  # fmt: skip

    def _send_link(self, request: Request, body: LinkIn) -> Response:
        if self._settings.smtp_url is None:
            raise Problem("not_found", "this server sends no mail", hint="Sign in another way.")
        self._suspect(request)
        browser = self._cookies.browser(request.headers) or identity.random_text()
        org_id, known = self._organisation(body.org_slug)
        email = (
            body.email if known else ""
        )  # nobody's: the same is done, so that time tells no more than words
        self._perform(request, org_id, lambda unit: orgs.signing_in.send_link(unit, email, browser))
        reply = JSONResponse(Sent(message=SENT).model_dump(), 202)
        reply.headers.append("set-cookie", Cookies.header(BROWSER, browser, BROWSER_S))
        return reply

    def _follow_link(self, request: Request, body: FollowIn) -> Response:
        browser = self._cookies.browser(request.headers) or ""
        return self._finish(
            request, body.token, lambda unit: orgs.signing_in.follow_link(unit, body.token, browser), None
        )

    def _code(self, request: Request, _none: None) -> Response:
        secret = incoming(request).bearer
        found = identity.authenticate(self._database, self._hasher, secret) if secret else None
        if found is None or found.actor is None:
            if secret:
                self._suspect(request)
            raise Problem(
                "unauthenticated", "nobody is known by this credential", hint="Run `builderos login`."
            )
        code = self._as(request, found.actor, orgs.opening.code, "openBrowser@1")
        told = Code(
            code=code, url=f"{orgs.signing_in.public_url(self._settings)}/open#{code}",
            expires_in_s=int(orgs.opening.LIFE.total_seconds()),
        )  # fmt: skip
        return JSONResponse(told.model_dump(), 201)

    def _enter(self, request: Request, body: OpenIn) -> Response:
        return self._finish(request, body.code, lambda unit: orgs.opening.enter(unit, body.code), None)

    def _refresh(self, request: Request, body: RefreshIn) -> Response:
        secret = body.refresh_token
        org_id = self._org_of(request, secret)
        try:
            tokens = self._perform(request, org_id, lambda unit: orgs.sessions.refresh(unit, secret))
        except Problem:
            self._suspect(request)
            raise
        return JSONResponse(tokens.model_dump())

    def _depart(self, request: Request, chosen: tuple[str, str | None]) -> Response:
        slug, named = chosen
        self._suspect(request)
        if named is not None:
            org_id, known = orgs.providers.organisation_of(self._database, named), True
            at = self._perform(request, org_id, lambda unit: orgs.providers.connection(unit, named))
            provider = self._context.get(Providers).of(at)
        else:
            provider = self._provider()
            org_id, known = self._organisation(slug)
        text = identity.random_text
        errand = Errand(text(), text(), text())
        browser = self._cookies.browser(request.headers) or text()
        address = provider.address(errand, self._callback)
        kept = (
            errand if known else replace(errand, state=text())
        )  # from an invented organisation nobody comes back
        self._perform(request, org_id, lambda unit: orgs.signing_in.send_away(unit, kept, browser, named))
        reply = RedirectResponse(address, 303)
        reply.headers.append("set-cookie", Cookies.header(BROWSER, browser, BROWSER_S))
        return reply

    def _arrive(self, request: Request, answer: tuple[str, str, str | None]) -> Response:
        state, code, issuer = answer
        browser = self._cookies.browser(request.headers) or ""
        org_id = self._org_of(request, state)
        errand, at = self._perform(
            request, org_id, lambda unit: orgs.signing_in.come_back(unit, state, browser)
        )
        if not code:
            raise Problem("policy_denied", "the provider signed nobody in", hint="Begin the sign-in again.")
        # No transaction is open while the provider is asked.
        provider = self._context.get(Providers).of(at) if at is not None else self._provider()
        person: Person = provider.exchange(errand, self._callback, code, issuer)
        home = orgs.signing_in.public_url(self._settings) + "/"
        return self._finish(request, state, lambda unit: orgs.signing_in.welcome(unit, person, at), home)

    def _session(self, request: Request, _none: None) -> Response:
        secret = self._cookies.session(request.headers)
        found = identity.authenticate(self._database, self._hasher, secret) if secret else None
        if secret is None or found is None or found.actor is None:
            raise Problem("unauthenticated", "nobody is signed in in this browser", hint="Sign in.")
        actor = found.actor
        slug = self._perform(request, actor.org_id, identity.org_slug)
        said = BrowserSession(
            member_id=actor.id, role=actor.role, org_slug=slug, csrf_token=self._cookies.csrf(secret)
        )
        return JSONResponse(said.model_dump())

    def _sign_out(self, request: Request, _none: None) -> Response:
        secret = self._cookies.session(request.headers)
        if secret is not None:
            if not self._cookies.is_ours(request.scope, request.headers, secret):
                raise Problem(
                    "policy_denied", "this request was not sent by a page of this server",
                    hint="Send the header X-CSRF-Token from the page.", policy_rule="cross-site-request",
                )  # fmt: skip
            found = identity.authenticate(self._database, self._hasher, secret)
            if found.actor is not None:
                credential_id = found.actor.credential_id or ""
                self._perform(
                    request, found.actor.org_id, lambda unit: orgs.sessions.end_of(unit, credential_id)
                )
        reply = JSONResponse(Sent(message="You are signed out.").model_dump())
        reply.headers.append("set-cookie", Cookies.header(SESSION, "", 0))
        return reply

    # ------------------------------------------------------------ common parts

    def _finish(
        self, request: Request, secret: str, verb: Callable[[Unit], orgs.signing_in.Begun], home: str | None
    ) -> Response:
        """Begin the session in the organisation of a sign-in on its way."""
        org_id = self._org_of(request, secret)
        return self._begin(request, lambda act: self._perform(request, org_id, act), verb, home)

    def _begin(
        self, request: Request, perform: Callable[[Callable[[Unit], Start]], Start],
        verb: Callable[[Unit], orgs.signing_in.Begun], home: str | None,
    ) -> Response:  # fmt: skip
        """Begin the session and hand over its cookie, whatever cookie the browser had before."""

        def begin(unit: Unit) -> Start:
            return verb(unit), identity.org_slug(unit)

        try:
            begun, slug = perform(begin)
        except Problem:
            self._suspect(request)
            raise
        way = self._cookies.way_on(request.headers)
        said = SignedIn(
            session_id=begun.session_id, member_id=begun.member_id, role=begun.role, org_slug=slug,
            csrf_token=self._cookies.csrf(begun.cookie), message="You are signed in.", next=way,
        )  # fmt: skip
        there = f"{home.rstrip('/')}{way}" if home is not None and way is not None else home
        reply = JSONResponse(said.model_dump()) if there is None else RedirectResponse(there, 303)
        reply.headers.append("set-cookie", Cookies.header(SESSION, begun.cookie, SESSION_S))
        reply.headers.append("set-cookie", Cookies.header(BROWSER, "", 0))
        if way is not None:
            reply.headers.append("set-cookie", Cookies.header(NEXT, "", 0))
        return reply

    @property
    def _callback(self) -> str:
        return orgs.signing_in.public_url(self._settings) + CALLBACK

    def _organisation(self, slug: str) -> tuple[str, bool]:
        """The organisation of a slug, or another one to do the same work in, and whether it is the one."""
        org = identity.find_org(self._database, slug)
        other = identity.find_org(self._database, identity.DEFAULT_ORG_SLUG)
        found = org or other
        if found is None:
            raise Problem("not_found", "there is no such organisation", hint="Check the address.")
        return found[0], org is not None

    def _provider(self) -> IdentityProvider:
        provider = self._context.get(Providers).provider
        if provider is None:
            raise Problem(
                "not_found", "this server has no provider to sign in at", hint="Sign in another way."
            )
        return provider

    def _org_of(self, request: Request, secret: str) -> str:
        org_id = orgs.sessions.organisation_of(self._database, self._hasher, secret)
        if org_id is None:
            self._suspect(request)
            raise orgs.sessions.over()
        return org_id


def add_sign_in(api: FastAPI, app: Application) -> None:
    """Add the door of signing in."""
    door = Door(app)
    api.add_api_route("/sign-in", door.page, methods=["GET"], include_in_schema=False)
    api.add_api_route("/sign-in.js", door.script, methods=["GET"], include_in_schema=False)
    api.add_api_route("/sign-in.css", door.style, methods=["GET"], include_in_schema=False)
    refused: dict[str, Any] = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for method, path, name, handler, status, reply in (
        ("POST", "/v1/auth/link", "sendLink", door.send_link, 202, Sent),
        ("POST", "/v1/auth/link/finish", "followLink", door.follow_link, 200, SignedIn),
        ("POST", "/v1/auth/code", "makeBrowserCode", door.code, 201, Code),
        ("POST", "/v1/auth/code/finish", "enterByCode", door.enter, 200, SignedIn),
        ("POST", "/v1/auth/invite", "joinInBrowser", door.join, 200, SignedIn),
        ("POST", "/v1/auth/refresh", "refreshSession", door.refresh, 200, schema.Tokens),
        ("GET", "/v1/auth/session", "getBrowserSession", door.session, 200, BrowserSession),
        ("POST", "/v1/auth/sign-out", "signOut", door.sign_out, 200, Sent),
        ("GET", "/v1/auth/oidc/start", "startOidc", door.depart, 303, None),
        ("GET", CALLBACK, "finishOidc", door.arrive, 303, None),
    ):
        api.add_api_route(
            path, handler, methods=[method], operation_id=name, summary=handler.__doc__, tags=["sign-in"],
            response_model=reply, status_code=status, response_class=JSONResponse if reply else Response,
            responses={
                "4XX": {"description": "The call was refused. `code` and `hint` say why.", "content": refused},
                "5XX": {"description": "The server could not do it.", "content": refused},
            },
        )  # fmt: skip
