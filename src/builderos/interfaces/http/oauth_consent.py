"""The door at which a member is asked: the authorization endpoint, and the page for devices.

OAuth 2.1, RFC 9700 (security), RFC 9207 (`iss` in the answer), RFC 8628 §3.3. A program that cannot be trusted to be
the one it says is never answered by a redirect: the person reads why.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Final
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from builderos.core.actor import Actor
from builderos.core.application import Application
from builderos.core.problems import Problem
from builderos.trust.orgs import schema
from builderos.trust.orgs import service as orgs

from . import pages
from .challenge import MCP
from .cookies import Cookies
from .doorway import Doorway
from .forms import Refusal, Values, body_of, read
from .oauth_tokens import audience_in, wished

AUTHORIZE: Final = "/oauth/authorize"
DEVICE: Final = "/device"
_PASSED_ON: Final = (
    "response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method",
    "resource",
)  # fmt: skip
_STOPPED: Final = "This sign-in cannot go on"
_TOO_OLD: Final = "The code is too old. Begin anew on the machine."
_UNKNOWN: Final = (
    "The program is not known here, or it asks to be answered at an address that it did not register. "
    "Nothing was sent to it."
)


class Stop(Exception):
    """Something that only the person is told: where the browser may be sent back to is not known for sure."""


@dataclass(frozen=True)
class Asked:
    """A program's request whose redirect address is its own. `values` are the parameters as they were sent."""

    values: Values
    client: orgs.clients.Client
    base: str

    def back(self, **said: str) -> Response:
        """Send the browser back: with the program's `state`, and with `iss`, which tells it which server answers."""
        uri = self.values["redirect_uri"]
        answer = {**said, "iss": self.base}
        if "state" in self.values:
            answer["state"] = self.values["state"]
        return RedirectResponse(f"{uri}{'&' if '?' in uri else '?'}{urlencode(answer)}", 303)

    def wish(self) -> orgs.grants.Wish:
        """What it asks for. Raises `Refusal`."""
        if self.values.get("response_type") != "code":
            raise Refusal("unsupported_response_type", "there is only the response type code")
        if self.values.keys() & {"request", "request_uri"}:
            raise Refusal("invalid_request", "requests are not passed by reference here")
        if self.values.get("response_mode", "query") != "query":
            raise Refusal("invalid_request", "the answer goes into the query")
        if self.values.get("prompt") == "none":
            raise Refusal("interaction_required", "a member is always asked")
        return orgs.grants.Wish(
            self.client, wished(self.values), audience_in(self.values.get("resource"), self.base),
            self.values["redirect_uri"], self._challenge(),
        )  # fmt: skip

    def _challenge(self) -> str | None:
        """PKCE with S256, of all but programs whose secret an organisation has made; never weaker than that."""
        challenge, method = self.values.get("code_challenge"), self.values.get("code_challenge_method")
        vouched = self.client.origin == "organisation" and self.client.secret_hash is not None
        if challenge is None and method is None and vouched:
            return None
        if challenge is None or method != "S256" or not orgs.grants.well_formed(challenge):
            raise Refusal("invalid_request", "PKCE is needed: code_challenge with code_challenge_method S256")
        return challenge

    @property
    def hidden(self) -> Values:
        """The parameters that the page carries to the decision."""
        return {name: self.values[name] for name in _PASSED_ON if name in self.values}


class Consent(Doorway):
    """The pages that ask."""

    async def ask(self, request: Request) -> Response:
        """Show a member what a program asks for."""
        return await self._in_thread(self._ask, request, request.url.query)

    async def decide(self, request: Request) -> Response:
        """Take the member's decision and send the browser back to the program."""
        return await self._with_form(self._decide, request)

    async def device(self, request: Request) -> Response:
        """Show where a device's code is typed."""
        return await self._in_thread(self._device, request, request.url.query)

    async def device_step(self, request: Request) -> Response:
        """Take the code, then the decision."""
        return await self._with_form(self._device_step, request)

    async def _with_form(
        self, work: Callable[[Request, Values, list[str]], Response], request: Request
    ) -> Response:
        try:
            form, granted = read(await body_of(request), repeated="grant")
        except Refusal as refusal:
            return pages.notice(_STOPPED, refusal.description, 400)
        return await self._in_thread(lambda r, _: work(r, form, granted), request, None)

    # ------------------------------------------------------------ authorization

    def _ask(self, request: Request, query: str) -> Response:
        try:
            asked = self._asked(request, read(query)[0])
        except (Stop, Refusal) as stop:
            return pages.notice(_STOPPED, stop.description if isinstance(stop, Refusal) else str(stop), 400)
        try:
            wish = asked.wish()
        except Refusal as refusal:
            return asked.back(error=refusal.error, error_description=refusal.description)
        way = Cookies.keep_way(f"{AUTHORIZE}?{query}")
        if way is None:
            return pages.notice(_STOPPED, "The program's request is too long.", 400)
        signed_in = self._signed_in(request)
        reply = self._question(request, *signed_in, asked, wish) if signed_in else _to_sign_in()
        reply.headers.append("set-cookie", way)
        return reply

    def _question(
        self, request: Request, secret: str, actor: Actor, asked: Asked, wish: orgs.grants.Wish
    ) -> Response:
        me = self._me(request, actor)
        misplaced = _misplaced(wish, me)
        if misplaced is not None:
            return misplaced
        scopes = orgs.grants.offered(wish, actor.role)
        if not scopes:
            return asked.back(
                error="invalid_scope", error_description="the member's role has none of these scopes"
            )
        csrf = self._cookies.seal(secret, _canonical(asked.hidden))
        return pages.consent(wish, me, scopes, {**asked.hidden, "csrf": csrf}, AUTHORIZE)

    def _decide(self, request: Request, form: Values, granted: list[str]) -> Response:
        try:
            asked = self._asked(request, form)
            wish = asked.wish()
        except (Stop, Refusal):
            return pages.notice(_STOPPED, _UNKNOWN, 400)
        actor = self._member(request, form.get("csrf", ""), _canonical(asked.hidden))
        if form.get("decision") != "allow":
            return asked.back(error="access_denied", error_description="the member said no")
        misplaced = _misplaced(wish, self._me(request, actor))
        if misplaced is not None:
            return misplaced
        scopes = tuple(s for s in orgs.grants.offered(wish, actor.role) if s in granted)
        try:
            code = self._as(request, actor, lambda unit: orgs.grants.allow(unit, wish, scopes), "authorize@1")
        except Problem as problem:
            return asked.back(error="access_denied", error_description=problem.detail)
        return asked.back(code=code)

    def _asked(self, request: Request, values: Values) -> Asked:
        """A request whose redirect address is one of the program's. Raises `Stop`."""
        client = orgs.clients.find(self._database, values.get("client_id", ""))
        if client is None or not orgs.redirects.fits(values.get("redirect_uri", ""), client.redirect_uris):
            self._suspect(request)
            raise Stop(_UNKNOWN)
        return Asked(values, client, self._base(request))

    def _me(self, request: Request, actor: Actor) -> orgs.me.Me:
        return self._as(request, actor, lambda unit: orgs.me.show(unit, schema.Nothing()), "signIn@1")

    def _member(self, request: Request, sent: str, purpose: str) -> Actor:
        """The member whose own page sent this form. Raises `unauthenticated`, `policy_denied`."""
        signed_in = self._signed_in(request)
        if signed_in is None:
            raise Problem("unauthenticated", "nobody is signed in in this browser", hint="Sign in.")
        ours = self._cookies.same_origin(request.scope, request.headers)
        if not ours or not self._cookies.is_seal(sent, signed_in[0], purpose):
            raise Problem(
                "policy_denied", "this form was not sent by the page that asked you",
                hint="Begin again at the program.", policy_rule="cross-site-request",
            )  # fmt: skip
        return signed_in[1]

    # ------------------------------------------------------------ devices

    def _device(self, request: Request, query: str) -> Response:
        try:
            values, _ = read(query)
        except Refusal:
            values = Values()
        typed = orgs.devices.letters_of(values.get("user_code", ""))
        signed_in = self._signed_in(request)
        if signed_in is None:
            reply = _to_sign_in()
            way = Cookies.keep_way(f"{DEVICE}?user_code={typed}")
            if way is not None:
                reply.headers.append("set-cookie", way)
            return reply
        return pages.ask_code({"csrf": self._cookies.seal(signed_in[0], DEVICE)}, typed)

    def _device_step(self, request: Request, form: Values, granted: list[str]) -> Response:
        signed_in = self._signed_in(request)
        if signed_in is None:
            return _to_sign_in()
        secret, actor = signed_in
        typed, deciding = orgs.devices.letters_of(form.get("user_code", "")), "decision" in form
        found = self._as(request, actor, lambda unit: orgs.devices.waiting(unit, typed), "signIn@1")
        client = orgs.clients.find(self._database, found[0]) if found is not None else None
        if found is None or client is None:
            if deciding:
                return pages.notice(_STOPPED, _TOO_OLD, 400)
            self._member(request, form.get("csrf", ""), DEVICE)
            self._rates.hit("invalid_tokens", actor.id)  # whoever signs in may not try many codes either
            self._suspect(request)
            again = {"csrf": self._cookies.seal(secret, DEVICE)}
            return pages.ask_code(
                again, "", "No machine waits with this code. Check it, or begin anew there."
            )
        wish = orgs.grants.Wish(client, found[1], found[2])
        if not deciding:
            self._member(request, form.get("csrf", ""), DEVICE)
            return self._device_question(request, secret, actor, wish, typed)
        self._member(request, form.get("csrf", ""), _of_device(typed, wish))
        return self._device_decided(
            request, actor, wish, typed, granted if form["decision"] == "allow" else None
        )

    def _device_question(
        self, request: Request, secret: str, actor: Actor, wish: orgs.grants.Wish, typed: str
    ) -> Response:
        me = self._me(request, actor)
        scopes = orgs.grants.offered(wish, actor.role)
        misplaced = _misplaced(wish, me)
        if misplaced is not None or not scopes:
            return misplaced or pages.notice(
                _STOPPED, "Your role has nothing of what the program asks for.", 403
            )
        csrf = self._cookies.seal(secret, _of_device(typed, wish))
        return pages.consent(wish, me, scopes, {"user_code": typed, "csrf": csrf}, DEVICE)

    def _device_decided(
        self, request: Request, actor: Actor, wish: orgs.grants.Wish, typed: str, granted: list[str] | None
    ) -> Response:
        offered = orgs.grants.offered(wish, actor.role)
        scopes = None if granted is None else tuple(s for s in offered if s in granted)
        try:
            done = self._as(
                request, actor, lambda unit: orgs.devices.decide(unit, wish, typed, scopes), "authorize@1"
            )
        except Problem as problem:
            return pages.notice(_STOPPED, f"{problem.detail}. {problem.hint}", problem.status)
        if not done:
            return pages.notice(_STOPPED, _TOO_OLD, 400)
        if scopes is None:
            return pages.notice("Nothing was let in", "You can close this page.")
        return pages.notice("The machine is connected", "Go on there; you can close this page.")


def _misplaced(wish: orgs.grants.Wish, me: orgs.me.Me) -> Response | None:
    """What a member of another organisation than the asked one reads; None for one of this."""
    named = wish.audience.removeprefix(MCP + "/") if wish.audience.startswith(MCP + "/") else me.org_slug
    foreign = wish.client.org_id not in (None, me.org_id)
    if named == me.org_slug and not foreign:
        return None
    there = "another organisation" if foreign else f"the organisation {named}"
    body = (
        f'<p role="status">You are signed in to <strong>{escape(me.org_slug)}</strong>, but the program asks for '
        f'{escape(there)}.</p><p><a href="/sign-in">Sign in there</a></p>'
    )
    return pages.page("Another organisation is asked for", body, status=403)


def _canonical(hidden: Values) -> str:
    return json.dumps(sorted(hidden.items()))


def _of_device(typed: str, wish: orgs.grants.Wish) -> str:
    """What the page of a device's decision was about."""
    return json.dumps([DEVICE, typed, wish.client.id, wish.scopes, wish.audience])


def _to_sign_in() -> Response:
    return RedirectResponse("/sign-in", 303)


def add_consent(api: FastAPI, app: Application) -> None:
    """Add the pages that ask a member."""
    door = Consent(app)
    for method, path, handler in (
        ("GET", AUTHORIZE, door.ask),
        ("POST", AUTHORIZE, door.decide),
        ("GET", DEVICE, door.device),
        ("POST", DEVICE, door.device_step),
    ):
        api.add_api_route(path, handler, methods=[method], include_in_schema=False)
