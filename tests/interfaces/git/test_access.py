"""Who may come through the git door, and what those hear who may not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.databases import FreshDatabase
from tests.support.gitclients import address, clone, raw, run
from tests.support.live import live as serving
from tests.support.world import make_repository, world_in_temp

from .conftest import Live

SERVICES = ("git-upload-pack", "git-receive-pack")
WRONG = "bos_rt_" + "x" * 43


def opening(live: Live, service: str, **options: Any) -> httpx.Response:
    return httpx.get(f"{live.url}/git/lab.git/info/refs?service={service}", **options)


def test_without_a_credential_git_is_asked_for_one(live: Live) -> None:
    for service in SERVICES:
        kind = f"application/x-{service}-request"
        posted = httpx.post(f"{live.url}/git/lab.git/{service}", headers={"content-type": kind})
        for reply in (opening(live, service), posted):
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"].startswith('Basic realm="builderos"')
            assert reply.headers["content-type"] == "text/plain; charset=utf-8"
            assert reply.text.startswith("unauthenticated: ")


def test_a_wrong_credential_opens_nothing(live: Live, subtests: pytest.Subtests) -> None:
    for header in ("Basic !", "Basic eDp5", "Basic eA==", "Bearer nonsense"):
        for service in SERVICES:
            with subtests.test(header=header, service=service):
                reply = opening(live, service, headers={"authorization": header})
                assert reply.status_code == 401
                assert "token_invalid" in reply.text


def test_git_says_that_the_token_is_wrong(live: Live) -> None:
    ran = run("clone", address(live.url, WRONG), str(live.desk / "no"))
    assert not ran.ok
    assert "token_invalid: this token is not valid here" in ran.err
    assert WRONG not in ran.err
    mine = live.clone()
    mine.commit({"a": "a\n"})
    pushed = mine.git("push", address(live.url, WRONG), f"HEAD:{mine.branch}")
    assert not pushed.ok
    assert "token_invalid" in pushed.err


def test_a_branch_name_is_no_credential(live: Live) -> None:
    assert (
        opening(live, "git-upload-pack", auth=(live.sandbox.branch, live.sandbox.branch)).status_code == 401
    )


def test_a_revoked_token_opens_nothing(live: Live) -> None:
    mine = live.clone()
    mine.commit({"a": "a\n"})
    live.rows("update ops.credentials set revoked_at = now() where kind = 'reuse_token'")
    assert opening(live, "git-upload-pack", auth=("x", live.sandbox.token)).status_code == 401
    assert "token_invalid" in mine.push().err


def test_an_expired_token_hears_that_it_has_expired(live: Live) -> None:
    live.rows("update ops.sandboxes set expires_at = now() - interval '1 day'")
    ran = run("ls-remote", address(live.url, live.sandbox.token))
    assert not ran.ok
    assert "token_expired" in ran.err


def test_another_repository_is_as_if_it_did_not_exist(live: Live) -> None:
    live.world.import_repo(make_repository(live.desk / "second"), "second")
    for repo in ("second", "missing", "LAB", ".hidden", "lab%00"):
        reply = httpx.get(
            f"{live.url}/git/{repo}.git/info/refs?service=git-upload-pack", auth=("x", live.sandbox.token)
        )
        assert reply.status_code == 404, repo
        assert reply.text == (
            "not_found: there is no such repository for this credential\nCheck the address you clone from.\n"
        )


def test_a_token_of_another_repository_pushes_nothing_here(live: Live) -> None:
    live.world.import_repo(make_repository(live.desk / "second"), "second")
    other = live.world.open_sandbox("second")
    mine = live.clone()
    mine.commit({"a": "a\n"})
    before = live.tip()
    pushed = mine.git("push", address(live.url, other.token), f"HEAD:{mine.branch}")
    assert not pushed.ok
    assert "not found" in pushed.err
    assert live.tip() == before


def test_a_token_of_the_minimal_profile_has_no_git(live: Live) -> None:
    live.rows("update ops.credentials set profile = 'minimal' where kind = 'reuse_token'")
    for service in SERVICES:
        reply = opening(live, service, auth=("x", live.sandbox.token))
        assert reply.status_code == 403
        assert reply.text.startswith("tool_not_allowed: ")


def share(live: Live) -> str:
    """A read-only link's token."""
    listed = live.world.as_owner("GET", "/v1/sandboxes", params={"repo_name": "lab"}).json()
    id_ = next(item["id"] for item in listed["items"] if item["branch"] == live.sandbox.branch)
    made = live.world.http.post(f"/v1/sandboxes/{id_}/share", json={}, headers=live.sandbox.headers)
    assert made.status_code == 201, made.text
    return next(value for value in made.json().values() if str(value).startswith("bos_sh_"))


def test_a_share_link_clones_its_branch_and_nothing_else(live: Live) -> None:
    live.sandbox.commit({"shown.txt": "shown\n"})
    token = share(live)
    theirs = clone(live.url, token, live.sandbox.branch, live.desk / "shared")
    assert (theirs.folder / "shown.txt").read_text() == "shown\n"
    refs = run("ls-remote", "--heads", address(live.url, token)).out.split()
    assert refs[1:] == [f"refs/heads/{live.sandbox.branch}"]
    grown = live.grow_main({"later.txt": "1\n"})
    assert not theirs.git("fetch", "origin", grown).ok
    theirs.commit({"a": "a\n"})
    before = live.tip()
    pushed = theirs.push()
    assert not pushed.ok
    assert "policy_denied" in pushed.err or "forbidden_branch" in pushed.err
    assert live.tip() == before


def key(live: Live, *scopes: str) -> str:
    made = live.world.as_owner("POST", "/v1/api-keys", json={"label": "key", "scopes": list(scopes)})
    assert made.status_code == 201, made.text
    return next(value for value in made.json().values() if str(value).startswith("bos_ak_"))


def test_an_api_key_that_reads_clones_the_base(live: Live) -> None:
    theirs = clone(live.url, key(live, "read"), "main", live.desk / "key")
    assert theirs.must("branch", "--show-current") == "main"
    theirs.commit({"a": "a\n"})
    pushed = theirs.push("HEAD:main")
    assert not pushed.ok
    assert "403" in pushed.err


def test_an_api_key_without_read_clones_nothing(live: Live) -> None:
    assert opening(live, "git-upload-pack", auth=("x", key(live, "promote"))).status_code == 403


@pytest.fixture
def with_default(database: FreshDatabase, tmp_path: Path) -> Iterator[Live]:
    """A server whose members and keys write to the branch `dev` unless they name another."""
    with world_in_temp(database, default_write_branch="dev") as world, serving(world.asgi) as url:
        yield Live(world, url, world.open_sandbox(), tmp_path, database.superuser_conninfo)


def test_a_key_that_writes_pushes_to_the_default_write_branch(with_default: Live) -> None:
    world = with_default.world
    (repo,) = world.as_owner("GET", "/v1/repos").json()["items"]
    made = world.as_owner("POST", f"/v1/repos/{repo['id']}/branches", json={"branch": "dev"})
    assert made.status_code == 201, made.text
    theirs = clone(with_default.url, key(with_default, "read", "write"), "dev", with_default.desk / "key")
    assert theirs.must("branch", "--show-current") == "dev"
    sha = theirs.commit({"a": "a\n"})
    pushed = theirs.push()
    assert pushed.ok, pushed.err
    assert with_default.rows("select tip from ops.branches where name = 'dev'") == [(sha,)]
    assert "protected_branch" in theirs.push("HEAD:main").err
    reader = clone(with_default.url, key(with_default, "read"), "main", with_default.desk / "reader")
    reader.commit({"b": "b\n"})
    assert not reader.push("HEAD:dev").ok


def test_only_the_smart_protocol_is_served(live: Live) -> None:
    auth = ("x", live.sandbox.token)
    for query in ("", "?service=git-upload-archive", "?service=git-upload-pack%20--x"):
        reply = httpx.get(f"{live.url}/git/lab.git/info/refs{query}", auth=auth)
        assert reply.status_code == 403, query
        assert "smart protocol" in reply.text
    for path in ("HEAD", "objects/info/packs", "config", "git-upload-archive"):
        assert httpx.get(f"{live.url}/git/lab.git/{path}", auth=auth).status_code == 404
    typed = httpx.post(f"{live.url}/git/lab.git/git-upload-pack", auth=auth, content=b"0000")
    assert typed.status_code == 415
    encoded = raw(live.url, live.sandbox.token, "upload-pack", b"0000", content_encoding="br")
    assert encoded.status_code == 415


def test_the_git_door_is_no_part_of_the_openapi_document(live: Live) -> None:
    paths = httpx.get(f"{live.url}/openapi.json").json()["paths"]
    assert not [path for path in paths if ".git" in path]


@pytest.fixture
def strict(database: FreshDatabase, tmp_path: Path) -> Iterator[Live]:
    """A server with small rates."""
    with (
        world_in_temp(database, rate_invalid_tokens=3, rate_per_token=6) as world,
        serving(world.asgi) as url,
    ):
        yield Live(world, url, world.open_sandbox(), tmp_path, database.superuser_conninfo)


def test_wrong_tokens_count_as_abuse_at_this_door_too(strict: Live) -> None:
    codes = [opening(strict, "git-upload-pack", auth=("x", WRONG)).status_code for _ in range(5)]
    assert codes == [401, 401, 401, 429, 429]
    limited = opening(strict, "git-receive-pack", auth=("x", WRONG))
    assert limited.status_code == 429
    assert int(limited.headers["retry-after"]) > 0
    alerts = strict.world.as_owner("GET", "/v1/alerts").json()["items"]
    assert [alert["rule"] for alert in alerts] == ["token_abuse"]


def test_requests_without_any_credential_count_as_nothing(strict: Live) -> None:
    assert {opening(strict, "git-upload-pack").status_code for _ in range(8)} == {401}


def test_git_requests_spend_the_rate_of_their_token(strict: Live) -> None:
    codes = [
        opening(strict, "git-upload-pack", auth=("x", strict.sandbox.token)).status_code for _ in range(8)
    ]
    assert codes == [200] * 6 + [429] * 2
    assert run("ls-remote", address(strict.url, strict.sandbox.token)).err.count("rate_limited") == 1
