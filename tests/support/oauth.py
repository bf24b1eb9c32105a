"""A browser, and a program that signs in through it: what happens between them, by hand."""

import base64
import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from .teams import Person, Team
from .world import Json

BACK = "http://127.0.0.1:7171/done"
SESSION, NEXT = "__Host-bos", "__Host-bos_next"
_INPUT = re.compile(r'<input type="(hidden|checkbox)" name="([^"]*)" value="([^"]*)"')


@dataclass
class Page:
    """A reply that a person looks at."""

    reply: Any

    @property
    def text(self) -> str:
        """What it says."""
        return self.reply.text

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The parts of its form, every box ticked."""
        return [(unescape(name), unescape(value)) for _, name, value in _INPUT.findall(self.text)]

    @property
    def back(self) -> dict[str, str]:
        """What comes back to the program."""
        assert self.reply.status_code == 303, self.text
        return dict(parse_qsl(urlsplit(self.reply.headers["location"]).query))


@dataclass
class Browser:
    """Keeps cookies. `send(method, path, headers, content)` is the way to the server at `site`."""

    send: Callable[..., Any]
    site: str = "http://127.0.0.1"
    cookies: dict[str, str] = field(default_factory=dict[str, str])

    def get(self, address: str, **headers: str) -> Page:
        """Go to an address of the site, given whole or as a path; redirects are shown, not followed."""
        return self._keep(self.send("GET", address.removeprefix(self.site), headers=self._headers(headers)))

    def form(self, path: str, fields: list[tuple[str, str]], **headers: str) -> Page:
        """Send a form that a page of the site showed."""
        sent = self._headers(
            {"origin": self.site, "content-type": "application/x-www-form-urlencoded", **headers}
        )
        return self._keep(self.send("POST", path, headers=sent, content=urlencode(fields)))

    def json(self, path: str, body: Json) -> Any:
        """Send what a script of the site sends."""
        page = self._keep(self.send("POST", path, headers=self._headers({"origin": self.site}), json=body))
        return page.reply

    def join(self, invite: str, name: str = "") -> Json:
        """Accept an invite here."""
        reply = self.json("/v1/auth/invite", {"invite_token": invite, "name": name})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def decide(self, page: Page, decision: str = "allow", without: tuple[str, ...] = ()) -> Page:
        """Press a button of the question that a program asks."""
        path = re.search(r'action="([^"]+)"', page.text)
        assert path, page.text
        fields = [(n, v) for n, v in page.fields if not (n == "grant" and v in without)]
        return self.form(path[1], [*fields, ("decision", decision)])

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        jar = "; ".join(f"{name}={value}" for name, value in self.cookies.items() if value)
        return {**({"cookie": jar} if jar else {}), **more}

    def _keep(self, reply: Any) -> Page:
        for line in reply.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        return Page(reply)


@dataclass
class Program:
    """A program that asks members to let it act."""

    team: Team
    id: str
    secret: str | None = None
    redirect_uri: str = BACK
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(40))

    @property
    def challenge(self) -> str:
        """PKCE, S256."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def address(self, **changes: str | None) -> str:
        """Where it sends the browser; a change to None leaves a parameter out."""
        query: dict[str, str | None] = {
            "response_type": "code", "client_id": self.id, "redirect_uri": self.redirect_uri, "state": "s&1",
            "scope": "read write", "code_challenge": self.challenge, "code_challenge_method": "S256", **changes,
        }  # fmt: skip
        return f"/oauth/authorize?{urlencode({n: v for n, v in query.items() if v is not None})}"

    def token(self, **form: str | None) -> Any:
        """The response of the token endpoint."""
        whole = {"client_id": self.id, "client_secret": self.secret, **form}
        return self.post("/oauth/token", **whole)

    def redeem(self, code: str, **changes: str | None) -> Any:
        """Exchange a code."""
        form: dict[str, str | None] = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier, **changes,
        }  # fmt: skip
        return self.token(**form)

    def refresh(self, token: str, **changes: str | None) -> Any:
        """Exchange a refresh token."""
        return self.token(grant_type="refresh_token", refresh_token=token, **changes)

    def post(self, path: str, **form: str | None) -> Any:
        """A form of this program."""
        body = urlencode({name: value for name, value in form.items() if value is not None})
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return self.team.lab.world.http.post(path, content=body, headers=headers)

    def whole_way(self, browser: Browser, **changes: str | None) -> Json:
        """Everything until there are tokens."""
        back = browser.decide(browser.get(self.address(**changes))).back
        reply = self.redeem(back["code"])
        assert reply.status_code == 200, reply.text
        return reply.json()


def browser_of(team: Team) -> Browser:
    """A fresh browser, before the team's server."""

    def send(method: str, path: str, **more: Any) -> Any:
        return team.lab.world.http.request(method, path, follow_redirects=False, **more)

    return Browser(send)


def member(team: Team, role: str, email: str) -> Browser:
    """The browser of a new member who is signed in in it."""
    browser = browser_of(team)
    browser.join(team.invite(email, role)["invite_token"], name=email.partition("@")[0])
    return browser


def register(team: Team, *uris: str, **more: Any) -> Program:
    """A program that has registered itself."""
    body = {"redirect_uris": list(uris) or [BACK], "client_name": "Studio", **more}
    reply = team.lab.world.http.post("/oauth/register", json=body)
    assert reply.status_code == 201, reply.text
    made = reply.json()
    return Program(team, made["client_id"], made.get("client_secret"), (list(uris) or [BACK])[0])


def refused(reply: Any, error: str, status: int = 400) -> Json:
    """The body of a refusal as the protocol of OAuth words it."""
    assert (reply.status_code, reply.json()["error"]) == (status, error), reply.text
    return reply.json()


def stopped(page: Page) -> None:
    """The person reads why, and the browser goes nowhere."""
    assert page.reply.status_code == 400, page.text
    assert "location" not in page.reply.headers
    assert "cannot go on" in page.text


def call(team: Team, token: str, method: str = "GET", path: str = "/v1/repos", **body: Any) -> Any:
    """A call with an access token."""
    return Person(team, "", {"access_token": token}).call(method, path, **body)
