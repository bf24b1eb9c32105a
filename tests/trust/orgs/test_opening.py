"""Codes that let one browser in as whoever signed in at the command line."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.teams import Team

SITE, SESSION = "http://127.0.0.1", "__Host-bos"


@pytest.fixture(scope="module")
def team(databases: Databases) -> Iterator[Team]:
    with lab_in_temp(databases) as lab:
        yield Team(lab)


def code(lab: Lab, headers: dict[str, str]) -> Any:
    return lab.world.http.post("/v1/auth/code", headers=headers)


def enter(lab: Lab, told: str) -> Any:
    return lab.world.http.post("/v1/auth/code/finish", json={"code": told}, headers={"origin": SITE})


def browser(reply: Any, csrf: str = "") -> dict[str, str]:
    """The headers of a page that got in by this reply."""
    [line] = [v for v in reply.headers.get_list("set-cookie") if v.startswith(f"{SESSION}=")]
    assert line.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=1209600")
    cookie = {"cookie": line.partition(";")[0]}
    return cookie | ({"origin": SITE, "x-csrf-token": csrf} if csrf else {})


def test_the_owner_gets_a_browser_that_is_the_owner_until_it_signs_out(team: Team) -> None:
    lab, http = team.lab, team.lab.world.http
    told = lab.ok(code(lab, lab.world.owner), 201)
    assert told["url"].endswith(f"/open#{told['code']}")
    reply = enter(lab, told["code"])
    page = browser(reply, lab.ok(reply)["csrf_token"])
    me, same = lab.ok(http.get("/v1/me", headers=page)), lab.ok(lab.as_owner("GET", "/v1/me"))
    assert (me["role"], me["id"]) == ("owner", same["id"])
    assert me["credential_id"] != same["credential_id"]
    lab.ok(http.post("/v1/workspaces", json={"name": "By a browser"}, headers=page))
    lab.problem(
        http.post("/v1/workspaces", json={"name": "By a stranger's page"}, headers=browser(reply)),
        "unauthenticated",
    )
    lab.ok(http.post("/v1/auth/sign-out", headers=page))
    lab.problem(http.get("/v1/me", headers=browser(reply)), "token_invalid")
    assert lab.ok(lab.as_owner("GET", "/v1/me"))["id"] == same["id"]  # the credential of the home lives on


def test_a_code_is_good_once_and_for_two_minutes(team: Team) -> None:
    lab = team.lab
    told = lab.ok(code(lab, lab.world.owner))["code"]
    lab.ok(enter(lab, told))
    lab.problem(enter(lab, told), "token_invalid")
    late = lab.ok(code(lab, lab.world.owner))["code"]
    with lab.later(minutes=3):
        lab.problem(enter(lab, late), "token_invalid")
    for wrong in ("", "bos_bc_" + "a" * 43, lab.world.owner_token):
        assert enter(lab, wrong).status_code in (400, 401, 422)


def test_a_member_who_signed_in_gets_a_browser_session_of_that_member(team: Team) -> None:
    lab, ann = team.lab, team.join("builder")
    reply = enter(lab, lab.ok(code(lab, ann.headers))["code"])
    said = lab.ok(reply)
    assert (said["role"], said["org_slug"]) == ("builder", team.slug)
    sessions = lab.ok(lab.world.http.get("/v1/me/sessions", headers=browser(reply)))["items"]
    assert "open" in {one["method"] for one in sessions}


def test_nothing_that_is_made_for_a_program_gets_a_browser(team: Team) -> None:
    lab, ann = team.lab, team.join("builder")
    lab.problem(code(lab, {}), "unauthenticated")
    token = lab.ok(ann.call("POST", "/v1/tokens", label="laptop", scopes=["read"]))
    for secret in (lab.world.open_sandbox().token, token["token"]):
        lab.problem(code(lab, {"authorization": f"Bearer {secret}"}), "policy_denied")
    reply = enter(lab, lab.ok(code(lab, ann.headers))["code"])
    page = browser(reply, lab.ok(reply)["csrf_token"])
    lab.problem(code(lab, page), "unauthenticated")  # one browser lets no other one in
