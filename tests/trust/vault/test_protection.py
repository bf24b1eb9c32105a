"""No credential enters a branch, by whatever door; who answers for the organisation may say otherwise, for a while."""

import base64
import secrets
import string
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gitclients import clone
from tests.support.lab import Lab
from tests.support.live import live as serving
from tests.support.teams import Team
from tests.support.world import Json, Sandbox, make_repository

SECRET = OTHER = CONFIG = ""  # other ones in each test, because an exception is for the whole repository


def _token() -> str:
    return "bos_rt_" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(43))


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    here, secret = sys.modules[__name__], _token()
    monkeypatch.setattr(here, "SECRET", secret)
    monkeypatch.setattr(here, "OTHER", _token())
    monkeypatch.setattr(here, "CONFIG", f"debug = true\ntoken = '{secret}'\n")


@pytest.fixture(scope="module")
def url(lab: Lab) -> Iterator[str]:
    with serving(lab.world.asgi) as found:
        yield found


@pytest.fixture
def box(lab: Lab) -> Sandbox:
    return lab.open_sandbox()


def refused(lab: Lab, box: Sandbox, content: str = "", path: str = "conf.py", **more: str) -> Json:
    file = {"path": path, "content": content or CONFIG, **more}
    return lab.problem(box.try_post("/commit_and_log_output", files=[file], message="Add"), "policy_denied")


def test_a_commit_with_a_credential_is_refused_with_its_place_and_without_its_text(
    lab: Lab, box: Sandbox
) -> None:
    tip = lab.tip(box.branch)
    body = refused(lab, box)
    (found,) = body["findings"]
    assert (found["path"], found["line"], found["rule"], body["policy_rule"]) == (
        "conf.py", 2, "builderos-token", "push-protection",
    )  # fmt: skip
    assert "conf.py:2: BuilderOS token bos_rt_… (50 characters)" in body["detail"]
    assert found["fingerprint"] in body["hint"]
    assert lab.tip(box.branch) == tip
    (line,) = [e for e in lab.events(type="refused") if found["fingerprint"] in str(e)]
    assert line["rules"] == ["push-protection"]
    everything = str(body) + str(lab.events()) + str(lab.sql("select * from ops.secret_findings"))
    assert SECRET not in everything
    assert SECRET[8:] not in everything


def test_nothing_hides_it(lab: Lab, box: Sandbox) -> None:
    encoded = base64.b64encode(b"\xff\xfe" + CONFIG.encode("utf-16-le")).decode()
    refused(lab, box, encoded, "utf16.txt", encoding="base64")
    refused(lab, box, base64.b64encode(b"\0\1" + CONFIG.encode()).decode(), "blob.bin", encoding="base64")
    name = box.try_post("/commit_and_log_output", file_path=f"notes/{SECRET}.txt", content="x", message="Add")
    assert SECRET not in lab.problem(name, "invalid_path")["detail"]
    assert SECRET not in str(lab.events())


def test_a_credential_in_a_task_or_the_memory_is_refused_or_taken_out(lab: Lab, box: Sandbox) -> None:
    box.commit({"a.txt": "a\n"}, message=f"Use {SECRET}")
    made = box.try_post("/tasks/lifecycle", action="create", task_id="1_x", title="Use " + SECRET)
    noted = box.try_post("/memory/manage", action="add", path="a.txt", description=SECRET)
    assert {made.status_code, noted.status_code} <= {200, 201, 403}
    log = box.post("/git/log", limit=20)
    files = box.post(
        "/system/fetch_files", mode="batch",
        paths=["project/task.yaml", "project/memory.yaml", "project/changelog.yaml", ".logs/reasoning.yaml"],
    )  # fmt: skip
    assert SECRET not in str(log) + str(files)


def test_the_same_file_may_be_changed_elsewhere_and_moved(lab: Lab, box: Sandbox, tmp_path: Path) -> None:
    allow(lab, refused(lab, box)["findings"][0]["fingerprint"])
    box.commit({"conf.py": CONFIG})
    allow(lab, refused(lab, box, CONFIG, "other.py")["findings"][0]["fingerprint"], hours=1)
    with lab.later(days=20):
        box.commit({"conf.py": "# first\n" + CONFIG})
        box.commit({"conf.py": None, "moved.py": CONFIG})
        refused(lab, box, CONFIG.replace(SECRET, OTHER), "moved.py")


def allow(lab: Lab, fingerprint: str, **more: object) -> Json:
    body = {"decision": "allow", "reason": "It opens the demo alone.", **more}
    return lab.ok(lab.as_owner("POST", f"/v1/secret-findings/{fingerprint}", json=body))


def test_an_owner_allows_exactly_this_finding_for_a_while_and_the_retry_passes(
    lab: Lab, box: Sandbox
) -> None:
    fingerprint = refused(lab, box)["findings"][0]["fingerprint"]
    listed = lab.ok(lab.as_owner("GET", "/v1/secret-findings"))["items"]
    assert fingerprint in [item["fingerprint"] for item in listed]
    allowed = allow(lab, fingerprint, hours=2)
    assert allowed["allowed"]
    refused(lab, box, CONFIG.replace(SECRET, OTHER))
    refused(lab, box, path="elsewhere.py")
    with lab.later(hours=3):
        assert refused(lab, box)["findings"][0]["fingerprint"] == fingerprint
    box.commit({"conf.py": CONFIG})
    (line,) = [e for e in lab.events(type="secret.finding_allowed") if e["object"] == fingerprint]
    assert line["payload"]["reason"] == "It opens the demo alone."
    assert SECRET not in str(line)


def test_an_exception_can_be_taken_back(lab: Lab, box: Sandbox) -> None:
    fingerprint = refused(lab, box)["findings"][0]["fingerprint"]
    allow(lab, fingerprint)
    back = {"decision": "forbid", "reason": "It opens more."}
    lab.ok(lab.as_owner("POST", f"/v1/secret-findings/{fingerprint}", json=back))
    refused(lab, box)


def test_who_made_the_commit_cannot_allow_it_nor_see_the_findings(lab: Lab, box: Sandbox) -> None:
    fingerprint = refused(lab, box)["findings"][0]["fingerprint"]
    body = {"decision": "allow", "reason": "I want to."}
    path = f"/v1/secret-findings/{fingerprint}"
    lab.problem(lab.world.http.post(path, json=body, headers=box.headers), "policy_denied")
    lab.problem(lab.world.http.get("/v1/secret-findings", headers=lab.key("read", "write")), "policy_denied")
    lab.ok(lab.world.http.get("/v1/secret-findings", headers=lab.key("admin")))
    other = lab.second_org("findings")
    lab.problem(lab.world.http.post(path, json=body, headers=other.owner), "not_found")
    refused(lab, box)


def test_a_fingerprint_that_was_never_found_cannot_be_allowed(lab: Lab) -> None:
    body = {"decision": "allow", "reason": "Just in case."}
    lab.problem(lab.as_owner("POST", f"/v1/secret-findings/{'0' * 32}", json=body), "not_found")
    lab.problem(
        lab.as_owner("POST", f"/v1/secret-findings/{'0' * 32}", json={**body, "hours": 10**6}),
        "validation_failed",
    )


def test_the_policy_file_looks_away_where_it_says_so(lab: Lab) -> None:
    content = (
        "version: 1\npush_protection:\n  ignore_paths: [tests/fixtures/**]\n"
        f"  ignore_values: ['{OTHER[:20]}*']\n"
    )
    box = lab.open_sandbox()
    proposed = lab.ok(lab.as_owner("PUT", "/v1/policies", json={"content": content, "reason": "Fixtures"}))
    lab.ok(lab.as_owner("POST", f"/v1/approvals/{proposed['approval_id']}", json={"decision": "approve"}))
    box.commit({"tests/fixtures/a/conf.py": CONFIG, "demo.py": CONFIG.replace(SECRET, OTHER)})
    refused(lab, box)


def test_a_push_with_a_credential_is_refused_even_where_a_later_commit_takes_it_out(
    lab: Lab, url: str, box: Sandbox, tmp_path: Path
) -> None:
    mine = clone(url, box.token, box.branch, tmp_path / "clone")
    mine.commit({"conf.py": CONFIG})
    clean = mine.commit({"conf.py": "debug = true\n"})
    before = lab.tip(box.branch)
    pushed = mine.push()
    assert not pushed.ok
    assert "conf.py:2: BuilderOS token bos_rt_… (50 characters)" in pushed.err
    assert "git rebase" in pushed.err
    assert SECRET not in pushed.err
    assert lab.tip(box.branch) == before
    (found,) = [
        f for f in lab.ok(lab.as_owner("GET", "/v1/secret-findings"))["items"] if f["branch"] == box.branch
    ]
    assert [e["rules"] for e in lab.events(type="refused") if found["fingerprint"] in str(e)] == [
        ["push-protection"]
    ]
    allow(lab, found["fingerprint"])
    assert mine.push().ok
    assert lab.tip(box.branch) == clean
    mine.commit({"a.txt": "a\n"}, f"Use {OTHER}")
    assert "message of commit" in mine.push().err


@pytest.mark.parametrize("author", ["{} <x@x.example>", "x <{}@x.example>"])
def test_a_credential_in_the_name_of_an_author_is_refused(
    lab: Lab, url: str, tmp_path: Path, author: str
) -> None:
    team = Team(lab)
    lab.ok(team.owner.call("POST", "/v1/repos", name="shop"), 201)
    opened = lab.ok(team.owner.call("POST", "/sandbox/init", repo_name="shop"))
    mine = clone(url, opened["reuse_token"], opened["branch"], tmp_path / "clone", repo="shop")
    mine.commit({"a.txt": "a\n"})
    mine.git("commit", "-q", "--amend", "--no-edit", "--author", author.format(OTHER))
    pushed = mine.push()
    assert not pushed.ok
    assert "author of commit" in pushed.err
    assert OTHER not in pushed.err


def test_what_main_holds_may_come_along(lab: Lab, url: str, tmp_path: Path) -> None:
    box = lab.open_sandbox()
    allow(lab, refused(lab, box, path="held.py")["findings"][0]["fingerprint"])
    box.commit({"held.py": CONFIG})
    lab.merged(box)
    with lab.later(days=20):
        fresh = lab.open_sandbox()
        fresh.commit({"held.py": CONFIG + "more = 1\n"})
        mine = clone(url, fresh.token, fresh.branch, tmp_path / "clone")
        mine.commit({"held.py": "# top\n" + CONFIG})
        assert mine.push().ok


def test_a_conflict_is_not_settled_with_a_credential(lab: Lab) -> None:
    name = f"both-{secrets.token_hex(4)}.py"
    first, second = lab.open_sandbox(), lab.open_sandbox()
    first.commit({name: "a = 1\n"})
    second.commit({name: "a = 2\n"})
    lab.merged(first, f"Bring {SECRET}")
    path = f"/v1/sandboxes/{lab.sandbox_id(second)}/update"
    settled = {"resolutions": [{"path": name, "content": CONFIG}]}
    refused_ = lab.problem(lab.world.http.post(path, json=settled, headers=second.headers), "policy_denied")
    assert refused_["findings"][0]["path"] == name
    settled["resolutions"][0]["content"] = "a = 3\n"
    lab.ok(lab.world.http.post(path, json=settled, headers=second.headers))
    assert SECRET not in str(second.post("/git/log"))
    opened = lab.ok(second.try_post("/git/promote", title=f"Bring {SECRET}"))
    everywhere = (
        opened,
        lab.as_owner("GET", "/v1/pulls").text,
        lab.as_owner("GET", "/v1/approvals").text,
        lab.events(),
    )
    assert all(SECRET not in str(told) for told in everywhere)


def config(*values: str) -> str:
    return "debug = true\n" + "".join(f"token = '{value}'\n" for value in values)


def test_nothing_new_hides_behind_copies_of_what_main_holds(
    lab: Lab, url: str, box: Sandbox, tmp_path: Path
) -> None:
    path, aws = f"held-{secrets.token_hex(4)}.py", "AKIA" + "Q3EGRYZ7KWXN2JVT"
    allow(lab, refused(lab, box, path=path)["findings"][0]["fingerprint"])
    box.commit({path: CONFIG})
    lab.merged(box)
    fresh, hiding = lab.open_sandbox(), config(*[SECRET] * 300, aws)
    with lab.later(days=20):
        (found,) = refused(lab, fresh, hiding, path)["findings"]
        assert (found["rule"], found["line"]) == ("aws-access-key", 302)
        mine = clone(url, fresh.token, fresh.branch, tmp_path / "clone")
        mine.commit({path: hiding})
        pushed = mine.push()
        assert not pushed.ok
        assert f"{path}:302: " in pushed.err
        assert lab.tip(fresh.branch) == lab.tip("main")
        fresh.commit({path: config(*[SECRET] * 300)})


def test_nothing_new_hides_behind_many_different_ones_that_main_holds(lab: Lab, tmp_path: Path) -> None:
    many = [_token() for _ in range(1200)]
    source = make_repository(tmp_path / "many", {"many.py": config(*many)})
    lab.ok(lab.as_owner("POST", "/v1/repos/import", json={"source": str(source), "name": "many"}), 201)
    box = lab.open_sandbox("many")
    (found,) = refused(lab, box, config(*reversed(many), SECRET), "many.py")["findings"]
    assert found["line"] == 1202
    box.commit({"many.py": config(*reversed(many))})


def test_no_secret_of_the_vault_hides_behind_copies_of_another(lab: Lab, tmp_path: Path) -> None:
    held, new = "7Qm2vX9rLk4TzB8wHd3Np4", "7Gs5yC1fWj6RaE0uMb7Kt4"
    source = make_repository(tmp_path / "words", {"words.txt": f"{held}\n" * 30})
    lab.ok(lab.as_owner("POST", "/v1/repos/import", json={"source": str(source), "name": "words"}), 201)
    for name, value in (("HELD", held), ("NEW", new)):
        lab.ok(lab.as_owner("POST", "/v1/secrets", json={"key_name": name, "value": value}), 201)
    box = lab.open_sandbox("words")
    (found,) = refused(lab, box, f"{held}\n" * 31 + new, "words.txt")["findings"]
    assert (found["rule"], found["line"]) == ("kept-secret", 32)
    box.commit({"words.txt": f"{held}\n" * 31})


def test_nothing_new_hides_behind_what_is_allowed_or_ignored(
    lab: Lab, url: str, box: Sandbox, tmp_path: Path
) -> None:
    first = refused(lab, box, config(*[SECRET] * 300))["findings"]
    allow(lab, first[0]["fingerprint"])
    (found,) = refused(lab, box, config(*[SECRET] * 300, OTHER))["findings"]
    assert found["line"] == 302
    mine = clone(url, box.token, box.branch, tmp_path / "clone")
    mine.commit({"conf.py": config(*[SECRET] * 300, OTHER)})
    assert "conf.py:302: " in mine.push().err


def test_more_than_are_looked_at_are_refused_until_exactly_this_content_is_allowed(
    lab: Lab, box: Sandbox
) -> None:
    path, many = f"many-{secrets.token_hex(4)}.py", [_token() for _ in range(101)]
    assert refused(lab, box, config(*many), path)["found"] == 101
    for _ in range(5):  # as many as are kept of one try, each time
        lab.sql(
            "update ops.secret_findings set allowed_until = now() + interval '1 day' where path = %s", path
        )
        (rest, *more) = refused(lab, box, config(*many), path)["findings"]
    assert (rest["rule"], rest["line"], more) == ("too-many", 102, [])
    allow(lab, rest["fingerprint"])
    refused(lab, box, config(*many, OTHER), path)
    box.commit({path: config(*many)})
