"""What is served at the console's addresses, and that no address of the API is taken by it."""

import gzip
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.testclient import TestClient

from builderos.interfaces.console.door import DIST, Console, assets_of
from builderos.interfaces.http.cookies import SESSION
from tests.support.lab import Lab

PAGE = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_a_browser_gets_the_console_at_the_root_and_everybody_else_what_was_there(lab: Lab) -> None:
    shown = lab.world.http.get("/", headers=PAGE)
    assert (shown.status_code, shown.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert '<div id="root">' in shown.text
    for accept in ("application/json", "*/*", ""):
        told = lab.ok(lab.world.http.get("/", headers={"accept": accept}))
        assert told["contract"] == "/openapi.json"


def test_the_page_is_kept_by_nobody_and_its_policy_lets_nothing_in_from_elsewhere(lab: Lab) -> None:
    headers = lab.world.http.get("/runs/run_1", headers=PAGE).headers
    assert headers["cache-control"] == "no-cache"
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert not any(word in headers["content-security-policy"] for word in ("unsafe", "http", "*"))


@pytest.mark.parametrize(
    "path",
    ["/v1/nope", "/v1", "/git/nope", "/mcp/nope", "/gpt/nope", "/oauth/nope", "/.well-known/nope", "/assets/nope.js",
     "/nope.js", "/runs/start", "/tasks/query", "/sandbox/init", "/healthz", "/openapi.json", "/metrics"],
)  # fmt: skip
def test_no_address_of_the_api_is_a_page_whoever_asks(lab: Lab, path: str) -> None:
    asked, plain = lab.world.http.get(path, headers=PAGE), lab.world.http.get(path)
    assert asked.status_code == plain.status_code
    assert "text/html" not in asked.headers["content-type"]


def test_pages_that_were_there_before_the_console_stay(lab: Lab) -> None:
    assert "Sign in to BuilderOS" in lab.world.http.get("/sign-in", headers=PAGE).text


@pytest.mark.parametrize("path", ["/approvals", "/projects/prj_1", "/admin", "/runs/run_1", "/no/such/page"])
def test_every_other_address_is_the_console_for_browsers_alone(lab: Lab, path: str) -> None:
    assert lab.world.http.get(path, headers=PAGE).status_code == 200
    lab.problem(lab.world.http.get(path), "not_found")
    lab.problem(lab.world.http.post(path, json={}, headers=PAGE), "not_found")


@pytest.fixture
def script() -> str:
    """The script that every page needs."""
    return next(name for name in assets_of(DIST) if name.startswith("frame-") and name.endswith(".js"))


def test_assets_are_served_as_they_were_compressed_and_for_ever(lab: Lab, script: str) -> None:
    plain = lab.world.http.get(f"/assets/{script}", headers={"accept-encoding": "identity"})
    assert plain.headers["content-type"] == "text/javascript; charset=utf-8"
    assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "content-encoding" not in plain.headers
    zipped = (DIST / "assets" / f"{script}.gz").read_bytes()
    assert gzip.decompress(zipped) == plain.content
    for accepted, encoding in (("gzip, deflate, br", "br"), ("gzip", "gzip"), ("br;q=0, gzip", "gzip")):
        reply = lab.world.http.get(f"/assets/{script}", headers={"accept-encoding": accepted})
        assert reply.headers["content-encoding"] == encoding
        assert reply.headers["vary"] == "accept-encoding"
        assert int(reply.headers["content-length"]) < len(plain.content)


def test_nothing_beside_the_assets_can_be_reached(lab: Lab) -> None:
    for path in ("/assets/../index.html", "/assets/%2e%2e/index.html", "/assets/../../door.py", "/assets/"):
        assert lab.world.http.get(path).status_code == 404


def test_the_page_says_whether_a_cookie_came_so_that_strangers_ask_for_no_session(lab: Lab) -> None:
    def told(cookie: str) -> bool:
        sent = PAGE | ({"cookie": f"{SESSION}={cookie}"} if cookie else {})
        return 'name="builderos-cookie" content="some"' in lab.world.http.get("/", headers=sent).text

    assert told("bos_cs_" + "a" * 43)
    assert not told("")
    assert not told("nonsense")


def test_without_a_build_browsers_are_told_how_and_the_api_answers(lab: Lab, tmp_path: Path) -> None:
    assert assets_of(tmp_path) == {}
    assert not (tmp_path / "index.html").exists()


def test_a_console_that_was_built_anew_is_served_without_a_restart(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    door = Console(Starlette(), FastAPI(), lab.world.app, tmp_path)
    browser = TestClient(door)
    for built in ("one", "two"):
        (tmp_path / "index.html").write_text(f'<script src="/assets/{built}.js"></script>')
        (tmp_path / "assets" / f"{built}.js").write_text(f"// {built}")
        assert browser.get(f"/assets/{built}.js").status_code == 404  # nothing names it yet
        assert built in browser.get("/", headers=PAGE).text
        assert browser.get(f"/assets/{built}.js").text == f"// {built}"
