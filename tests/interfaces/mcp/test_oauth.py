"""The official MCP client signs a person in by itself: it finds the server, registers, asks, redeems, refreshes, steps
up. The person is a browser of the test.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from pydantic import AnyUrl

from builderos.trust.orgs import service as orgs
from tests.support.databases import Databases
from tests.support.lab import lab_in_temp
from tests.support.oauth import BACK, Browser, Page
from tests.support.ports import live
from tests.support.teams import Team

Story = Callable[[Client], Awaitable[Any]]


@pytest.fixture(scope="module")
def team(databases: Databases) -> Iterator[Team]:
    with lab_in_temp(databases) as lab:
        made = Team(lab)
        lab.ok(made.owner.call("POST", "/v1/repos", name="shop"), 201)
        yield made


@pytest.fixture(scope="module")
def url(team: Team) -> Iterator[str]:
    with live(team.lab.world.asgi) as address:
        yield address


@pytest.fixture
def wire(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url) as client:
        yield client


@pytest.fixture
def person(team: Team, url: str, wire: httpx.Client) -> Browser:
    browser = Browser(wire.request, url)
    browser.join(
        team.invite(f"m{len(team.lab.sql('select 1 from ops.members'))}@acme.example", "builder")[
            "invite_token"
        ]
    )
    return browser


class Studio:
    """A program with the official client in it; it keeps its credentials as a real one would."""

    def __init__(self, address: str, person: Browser, without: tuple[str, ...] = ()) -> None:
        self.address = address
        self.person = person
        self.without = without
        self.asked: list[Page] = []
        self.tokens: OAuthToken | None = None
        self.info: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.info

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.info = client_info

    async def show(self, address: str) -> None:
        """What opens the person's browser."""
        self.asked.append(await anyio.to_thread.run_sync(self.person.get, address))

    async def answered(self) -> AuthorizationCodeResult:
        """What comes back from it."""
        decide = self.person.decide
        page = await anyio.to_thread.run_sync(lambda: decide(self.asked[-1], without=self.without))
        back = page.back
        return AuthorizationCodeResult(code=back["code"], state=back["state"], iss=back["iss"])

    def run(self, story: Story, mode: Any = "auto") -> Any:
        """Connect, and do the story to its end."""
        metadata = OAuthClientMetadata(redirect_uris=[AnyUrl(BACK)], client_name="Studio")
        self.signing_in = OAuthClientProvider(self.address, metadata, self, self.show, self.answered)

        async def whole() -> Any:
            async with (
                httpx2.AsyncClient(auth=self.signing_in, timeout=120) as http,
                Client(streamable_http_client(self.address, http_client=http), mode=mode) as client,
            ):
                return await story(client)

        with anyio.from_thread.start_blocking_portal() as portal:
            return portal.call(whole)


async def names(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


async def opened(client: Client) -> Any:
    return (await client.call_tool("initSandbox", {"repo_name": "shop"})).structured_content


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_official_client_signs_a_person_in_and_works(
    team: Team, url: str, person: Browser, mode: Any
) -> None:
    studio = Studio(f"{url}/mcp/{team.slug}", person)
    made = studio.run(opened, mode)
    assert made["branch"].startswith("sandbox-")
    assert len(studio.asked) == 1
    assert "Studio" in studio.asked[0].text
    assert f"/mcp/{team.slug}" in studio.asked[0].text, "the person reads what it is for"
    assert studio.tokens is not None
    assert studio.tokens.scope == "read write promote"
    assert studio.info is not None
    assert studio.info.issuer == url
    again = Studio(studio.address, person)
    again.tokens, again.info = studio.tokens, studio.info
    assert "initSandbox" in again.run(names, mode)
    assert again.asked == [], "nobody is asked twice"


def test_an_old_access_token_is_refreshed_without_asking(team: Team, url: str, person: Browser) -> None:
    studio = Studio(f"{url}/mcp/{team.slug}", person)

    async def story(client: Client) -> list[str]:
        seen: list[str] = []
        for _ in range(2):
            await client.list_tools()
            assert studio.tokens is not None
            seen.append(studio.tokens.access_token)
            studio.signing_in.context.token_expiry_time = 1.0
        return seen

    first, second = studio.run(story)
    assert first != second
    assert len(studio.asked) == 1


def test_the_client_asks_for_more_when_a_scope_is_missing(team: Team, url: str, person: Browser) -> None:
    studio = Studio(f"{url}/mcp/{team.slug}", person, without=("write", "promote"))
    assert "initSandbox" not in studio.run(names), "a token for reading is shown what it can use"
    assert studio.tokens is not None
    assert studio.tokens.scope == "read"
    studio.without = ()
    made = studio.run(opened)
    assert made["branch"].startswith("sandbox-")
    assert studio.tokens.scope == "read write", "what it had, and what was missing"
    assert len(studio.asked) == 2


def test_a_token_of_one_organisations_door_opens_no_other(team: Team, url: str, person: Browser) -> None:
    studio = Studio(f"{url}/mcp/{team.slug}", person)
    studio.run(names)
    assert studio.tokens is not None
    bearer = {"authorization": f"Bearer {studio.tokens.access_token}"}
    other = Team(team.lab)
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    accept = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}
    for path, status in (
        (f"/mcp/{team.slug}", 200),
        ("/mcp", 401),
        (f"/mcp/{other.slug}", 401),
        ("/mcp/none", 401),
    ):
        reply = httpx.post(url + path, json=message, headers={**bearer, **accept})
        assert reply.status_code == status, path
        if status == 401:
            told = reply.headers["www-authenticate"]
            assert f'resource_metadata="{url}/.well-known/oauth-protected-resource{path}"' in told
            assert 'error="invalid_token"' in told
    assert httpx.get(f"{url}/v1/repos", headers=bearer).status_code == 401


def test_without_a_credential_the_door_of_an_organisation_says_where_to_get_one(team: Team, url: str) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    accept = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}
    told = [
        httpx.post(f"{url}/mcp/{slug}", json=message, headers=accept) for slug in (team.slug, "no-such-org")
    ]
    assert [reply.status_code for reply in told] == [401, 401]
    shown = [
        r.headers["www-authenticate"].replace(s, "X")
        for r, s in zip(told, (team.slug, "no-such-org"), strict=True)
    ]
    assert shown[0] == shown[1], "nobody learns which organisations there are"
    assert httpx.post(f"{url}/mcp", json=message, headers=accept).status_code == 200, "anonymous mode is on"
    wrong = {**accept, "authorization": "Bearer bos_at_" + "0" * 43}
    assert httpx.post(f"{url}/mcp", json=message, headers=wrong).status_code == 401


def test_a_workspace_of_another_organisation_opens_no_door_of_this_one(team: Team, url: str) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    accept = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}
    foreign = {**accept, "authorization": f"Bearer {team.lab.open_sandbox().token}"}
    assert httpx.post(f"{url}/mcp", json=message, headers=foreign).status_code == 200
    assert httpx.post(f"{url}/mcp/{team.slug}", json=message, headers=foreign).status_code == 401
    mine = team.lab.ok(team.owner.call("POST", "/sandbox/init", repo_name="shop"))["reuse_token"]
    own = {**accept, "authorization": f"Bearer {mine}"}
    assert httpx.post(f"{url}/mcp/{team.slug}", json=message, headers=own).status_code == 200


def test_where_nobody_is_anonymous_every_message_needs_a_credential(databases: Databases) -> None:
    with lab_in_temp(databases, anonymous=False) as lab, live(lab.world.asgi) as url:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        reply = httpx.post(f"{url}/mcp", json=message, headers={"accept": "application/json"})
        assert (reply.status_code, reply.json()["code"]) == (401, "unauthenticated")
        assert " ".join(orgs.grants.USUAL) in reply.headers["www-authenticate"]
