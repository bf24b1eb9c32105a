"""Signing in from the command line: through a browser, with a code, and what is kept of it."""

import json
import re
import socket
import stat
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from builderos.client import signing_in
from builderos.client.errors import ClientError
from builderos.client.http import Client
from builderos.client.receiver import Receiver
from tests.support.server import Server

from . import web_browser
from .conftest import Line
from .test_mcp import Peer


class Ann:
    """The owner of a new organisation, with a browser in which she is signed in."""

    def __init__(self, server: Server, line: Line, folder: Path) -> None:
        self.url, self.line = server.url, line
        self.slug = f"acme-{uuid.uuid4().hex[:8]}"
        body = {"slug": self.slug, "name": "Acme", "owner_email": "ann@acme.example"}
        made = server.owner().call("POST", "/v1/orgs", body)
        joined = httpx.post(
            f"{self.url}/v1/auth/invite", json={"invite_token": made["invite_token"], "name": "Ann"}
        )
        self.cookie = joined.headers["set-cookie"].partition("=")[2].partition(";")[0]
        self.jar = folder / "jar"
        self.jar.write_text(self.cookie)

    def browser(self, decision: str = "allow") -> str:
        """What $BROWSER says."""
        return f"{sys.executable} {web_browser.__file__} {self.jar} {decision} %s"

    def login(self, *words: str, decision: str = "allow") -> Any:
        """Sign in with the browser."""
        return self.line("login", *words, BROWSER=self.browser(decision))

    @property
    def kept(self) -> Path:
        """The file in which the command line keeps what it has."""
        [file] = Path(self.line.env["XDG_CONFIG_HOME"]).glob("builderos/servers/*.json")
        return file


@pytest.fixture
def ann(running_server: Server, stranger: Line, tmp_path: Path) -> Ann:
    return Ann(running_server, stranger, tmp_path)


def test_the_browser_signs_the_command_line_in_until_it_signs_out(ann: Ann) -> None:
    answer = ann.login("--json")
    assert answer.code == 0, answer
    assert (answer.json["org_slug"], answer.json["name"]) == (ann.slug, "Ann")
    assert "bos_" not in answer.out + answer.err
    assert stat.S_IMODE(ann.kept.stat().st_mode) == 0o600
    assert ann.line.json("whoami")["role"] == "org_owner"
    assert "Ann in " + ann.slug in ann.line.ok("whoami")
    assert ann.line.json("member", "list")["items"][0]["email"] == "ann@acme.example"
    login = json.loads(ann.kept.read_text())["login"]
    ann.line.ok("logout")
    assert "You were not signed in" in ann.line.ok("logout")
    assert ann.line("whoami").code == 3
    with pytest.raises(ClientError):
        Client(ann.url, login["access_token"]).call("GET", "/v1/me")


def test_a_login_takes_the_place_of_the_one_before_which_ends(ann: Ann) -> None:
    ann.login()
    before = json.loads(ann.kept.read_text())["login"]
    ann.login("--scope", "read")
    assert ann.line.json("whoami")["scopes"] == ["read"]
    with pytest.raises(ClientError):
        Client(ann.url, before["access_token"]).call("GET", "/v1/me")


def test_an_old_token_is_exchanged_once_however_many_commands_run(ann: Ann) -> None:
    ann.login()
    kept = json.loads(ann.kept.read_text())
    old = kept["login"]["access_token"]
    kept["login"]["expires_at"] = 0
    ann.kept.write_text(json.dumps(kept))
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(ann.line("whoami").code)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0, 0], "a refresh token that is used twice ends the sign-in"
    assert json.loads(ann.kept.read_text())["login"]["access_token"] != old


def test_a_sign_in_that_is_over_says_so_and_is_forgotten(ann: Ann) -> None:
    ann.login()
    kept = json.loads(ann.kept.read_text())
    signing_in.end(Client(ann.url), kept["login"])
    assert ann.line("whoami").code == 3
    kept["login"]["expires_at"] = 0
    ann.kept.write_text(json.dumps(kept))
    answer = ann.line("whoami")
    assert answer.code == 3
    assert "builderos login" in answer.err
    assert json.loads(ann.kept.read_text())["login"] is None


def test_a_no_in_the_browser_signs_nobody_in(ann: Ann) -> None:
    answer = ann.login(decision="deny")
    assert answer.code == 3
    assert "the member said no" in answer.err
    assert ann.line("whoami").code == 3


def test_a_machine_without_a_browser_shows_a_code(running_server: Server, ann: Ann) -> None:
    client, shown, pauses = Client(running_server.url), list[str](), list[float]()

    def sleep(seconds: float) -> None:
        """The person takes its time in the first pause, and decides in the second."""
        pauses.append(seconds)
        if len(pauses) == 2:
            assert "is connected" in web_browser.type_code(ann.url, ann.cookie, shown[1])

    found = signing_in.with_code(client, ("read",), lambda *said: shown.extend(said), sleep=sleep)
    assert shown[0] == f"{ann.url}/device"
    assert len(pauses) >= 2
    assert found["scope"] == "read"
    assert Client(ann.url, found["access_token"]).call("GET", "/v1/me")["org_slug"] == ann.slug


def test_the_command_shows_the_code_and_waits_for_it(ann: Ann) -> None:
    process = subprocess.Popen(
        [*ann.line.program, "login", "--device"], cwd=ann.line.folder, env=ann.line.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    code = next(found[0] for line in process.stderr if (found := re.search(r"[A-Z]{4}-[A-Z]{4}", line)))
    assert "is connected" in web_browser.type_code(ann.url, ann.cookie, code)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert f"You are signed in to {ann.slug} as Ann" in out
    assert ann.line.json("whoami")["name"] == "Ann"


def test_another_server_s_answer_is_not_believed(ann: Ann) -> None:
    client = Client(ann.url)

    def mixed_up(address: str) -> None:
        _, back = web_browser.decide(address, ann.cookie, "allow")
        web_browser.visit(back.replace("iss=http%3A%2F%2F127.0.0.1", "iss=http%3A%2F%2Fevil.example"), "")

    with pytest.raises(ClientError, match="another server"):
        signing_in.with_browser(client, ("read",), mixed_up)
    with pytest.raises(ClientError, match="in time"):
        signing_in.with_browser(client, ("read",), lambda _: None, wait_s=0.05)


def test_the_waiting_place_takes_one_answer_with_the_right_state() -> None:
    with Receiver("s" * 32) as receiver:
        get = lambda path: httpx.get(receiver.uri.replace("/callback", path)).status_code  # noqa: E731
        assert get("/callback?code=x&state=wrong") == 404
        assert get("/callback?code=x") == 404
        assert get("/elsewhere?code=x&state=" + "s" * 32) == 404
        assert get("/favicon.ico") == 404
        assert get("/callback?code=right&state=" + "s" * 32) == 200
        assert get("/callback?code=second&state=" + "s" * 32) == 404
        assert receiver.wait(120) == {"code": "right", "state": "s" * 32}


def test_no_secret_goes_over_an_open_line(monkeypatch: pytest.MonkeyPatch) -> None:
    dialled: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **_: dialled.append(asked) or [])
    for begin in (
        lambda c: signing_in.with_browser(c, ("read",), lambda _: None),
        lambda c: signing_in.with_code(c, ("read",), lambda *_: None),
    ):
        with pytest.raises(ClientError, match="https"):
            begin(Client("http://builderos.example"))
    assert dialled == []


def test_an_owner_connects_a_provider_and_programs(ann: Ann, tmp_path: Path) -> None:
    ann.login()
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    words = ("--issuer", "https://id.acme.example", "--client-id", "us", "--secret", f"@{secret}")
    made = ann.line("sso", "add", "Acme", *words, "--domain", "acme.example", "--join-as", "viewer")
    assert made.code == 0, made
    assert "/sign-in?provider=idp_" in made.out
    listed = ann.line.json("sso", "list")["items"][0]
    assert (listed["label"], listed["join_role"]) == ("Acme", "viewer")
    assert "acme.example" in ann.line.ok("sso", "list")
    assert "Corp" in ann.line.ok("sso", "change", listed["id"], "--label", "Corp", "--listed")
    ann.line.ok("sso", "remove", listed["id"])
    assert ann.line("sso", "remove", listed["id"]).code == 1
    program = ann.line.json("program", "add", "Chat", "--back-to", "https://chat.example/a")
    assert program["client_secret"].startswith("bos_os_")
    assert (
        ann.line.json("program", "add", "Own", "--public", "--back-to", "http://127.0.0.1/a")["client_secret"]
        is None
    )
    assert "https://chat.example/b" in ann.line.ok(
        "program", "change", program["id"], "--back-to", "https://chat.example/b"
    )
    assert "Chat" in ann.line.ok("program", "list")
    ann.line.ok("program", "remove", program["id"])
    assert ann.line("program", "add", "x", "--back-to", "https://user@evil.example/").code == 2


def test_mcp_speaks_as_whoever_signed_in_and_renews_the_sign_in(ann: Ann) -> None:
    ann.login()
    kept = json.loads(ann.kept.read_text())
    kept["login"]["expires_at"] = 0
    ann.kept.write_text(json.dumps(kept))
    Client(ann.url, kept["login"]["access_token"]).call("POST", "/v1/repos", {"name": "shop"})
    process = subprocess.Popen(
        [*ann.line.program, "mcp"], cwd=ann.line.folder, env=ann.line.env, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    peer = Peer(process)
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    peer.ask("initialize", hello)
    peer.tell("notifications/initialized", {})
    made = peer.ask("tools/call", {"name": "initSandbox", "arguments": {"repo_name": "shop"}})
    process.communicate(timeout=120)
    assert made["structuredContent"]["branch"].startswith("sandbox-"), made
    now = json.loads(ann.kept.read_text())["login"]
    assert now["access_token"] != kept["login"]["access_token"]
