"""Organisations and their members through HTTP: who makes whom, what each role opens, how a membership ends."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import psycopg
import pytest

from builderos.core.database import Database
from builderos.trust.audit import service as audit
from tests.support.databases import Databases
from tests.support.lab import lab_in_temp
from tests.support.teams import Person, Team, calls_that_let_in
from tests.support.world import Json

_numbers = count()
ROLES = ("org_owner", "admin", "builder", "reviewer", "viewer")


@pytest.fixture(scope="module")
def team(databases: Databases) -> Iterator[Team]:
    with lab_in_temp(databases) as lab:
        made = Team(lab)
        lab.ok(made.owner.call("POST", "/v1/repos", name="shop"), 201)
        yield made


def test_the_owner_of_the_server_makes_an_organisation_that_its_invited_owner_takes_over(team: Team) -> None:
    members = team.lab.ok(team.owner.call("GET", "/v1/members"))["items"]
    mine = next(m for m in members if m["id"] == team.owner.id)
    assert (mine["role"], mine["name"], mine["email"]) == ("org_owner", "Ann", "ann@acme.example")
    taken = {"slug": team.slug, "name": "x", "owner_email": "x@x.example"}
    team.lab.problem(team.lab.as_owner("POST", "/v1/orgs", json=taken), "conflict")
    team.lab.problem(team.owner.call("POST", "/v1/orgs", **taken | {"slug": "new"}), "policy_denied")


def test_an_invite_is_good_for_one_person_and_once(team: Team) -> None:
    team.lab.problem(team.try_accept(team.made["invite_token"]), "token_invalid")
    invite = team.lab.ok(
        team.owner.call("POST", "/v1/invites", email="race@acme.example", role="viewer"), 201
    )
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda _: team.try_accept(invite["invite_token"]).status_code, range(4)))
    assert sorted(codes) == [200, 401, 401, 401]
    team.lab.problem(
        team.owner.call("POST", "/v1/invites", email="RACE@acme.example", role="viewer"), "conflict"
    )


def test_an_invite_opens_nothing_but_the_membership_and_ends_when_it_is_revoked_or_old(team: Team) -> None:
    invite = team.lab.ok(team.owner.call("POST", "/v1/invites", email="new@acme.example", role="viewer"), 201)
    bearer = {"Authorization": f"Bearer {invite['invite_token']}"}
    for path in ("/v1/members", "/v1/repos", "/v1/approvals", "/v1/tokens"):
        team.lab.problem(team.lab.world.http.get(path, headers=bearer), "policy_denied")
    with team.lab.later(days=8):
        team.lab.problem(team.try_accept(invite["invite_token"]), "token_expired")
    listed = team.lab.ok(team.owner.call("GET", "/v1/invites"))["items"]
    assert [i["email"] for i in listed if i["id"] == invite["id"]] == ["new@acme.example"]
    assert invite["invite_token"] not in str(listed)
    team.lab.ok(team.owner.call("DELETE", f"/v1/invites/{invite['id']}"))
    team.lab.problem(team.try_accept(invite["invite_token"]), "token_invalid")
    kept = team.lab.sql("select email from ops.invites where id = %s", invite["id"])
    assert kept == [(None,)], "the address is not kept longer than it is needed"


def test_each_role_opens_its_own_doors(team: Team) -> None:
    doors = {
        "read": ("GET", "/v1/repos", {}),
        "build": ("POST", "/sandbox/init", {"repo_name": "shop"}),
        "administer": ("GET", "/v1/audit", {}),
        "members": ("GET", "/v1/invites", {}),
        "doctor": ("GET", "/v1/doctor", {}),
    }
    opened = {}
    for role in ROLES:
        person = team.join(role)
        replies = {name: person.call(method, path, **body) for name, (method, path, body) in doors.items()}
        opened[role] = {name for name, reply in replies.items() if reply.status_code < 300}
    assert opened == {
        "org_owner": {"read", "build", "administer", "members"},
        "admin": {"read", "build", "administer", "members"},
        "builder": {"read", "build"},
        "reviewer": {"read"},
        "viewer": {"read"},
    }


def test_an_admin_manages_everybody_but_owners(team: Team) -> None:
    admin, viewer, owner = team.join("admin"), team.join("viewer"), team.join("org_owner")
    assert team.join("builder", by=admin).id
    assert team.lab.ok(admin.call("POST", f"/v1/members/{viewer.id}", role="reviewer"))["role"] == "reviewer"
    for refused in (
        admin.call("POST", "/v1/invites", email="boss@acme.example", role="org_owner"),
        admin.call("POST", f"/v1/members/{viewer.id}", role="org_owner"),
        admin.call("POST", f"/v1/members/{owner.id}", role="viewer"),
        admin.call("DELETE", f"/v1/members/{owner.id}"),
        viewer.call("DELETE", f"/v1/members/{owner.id}"),
    ):
        team.lab.problem(refused, "policy_denied")
    addresses = {m["email"] for m in team.lab.ok(viewer.call("GET", "/v1/members"))["items"]}
    assert addresses == {None}, "addresses are for those who manage members"


def test_the_last_owner_stays(team: Team) -> None:
    other = Team(team.lab)
    for refused in (
        other.owner.call("DELETE", f"/v1/members/{other.owner.id}"),
        other.owner.call("POST", f"/v1/members/{other.owner.id}", role="viewer"),
    ):
        other.lab.problem(refused, "conflict")
    second = other.join("org_owner")
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda p: p.call("DELETE", f"/v1/members/{p.id}"), (other.owner, second)))
    assert sorted(r.status_code for r in replies) == [200, 409]


def test_a_role_changes_at_once_and_takes_what_was_made_with_the_former_one(team: Team) -> None:
    person = team.join("admin")
    key = team.lab.ok(person.call("POST", "/v1/api-keys", label="k", scopes=["admin"]), 201)["api_key"]
    box = team.lab.ok(person.call("POST", "/sandbox/init", repo_name="shop"))["reuse_token"]
    invite = team.invite("late@acme.example", "viewer", by=person)
    team.lab.ok(team.owner.call("POST", f"/v1/members/{person.id}", role="viewer"))
    team.lab.problem(team.try_accept(invite["invite_token"]), "token_invalid")
    open_ones = team.lab.ok(team.owner.call("GET", "/v1/invites"))["items"]
    assert invite["id"] not in {i["id"] for i in open_ones}
    team.lab.problem(person.call("GET", "/v1/audit"), "policy_denied")
    for ended in (key, box):
        bearer = {"Authorization": f"Bearer {ended}"}
        team.lab.problem(team.lab.world.http.post("/actions/list", json={}, headers=bearer), "token_invalid")


def test_who_leaves_leaves_no_token_and_no_personal_data(team: Team) -> None:
    person = team.join("builder")
    token = team.lab.ok(person.call("POST", "/v1/tokens", label="mine", scopes=["read", "write"]), 201)[
        "token"
    ]
    box = team.lab.ok(person.call("POST", "/sandbox/init", repo_name="shop"))["reuse_token"]
    email = team.lab.sql("select email from ops.people where member_id = %s", person.id)[0][0]
    team.lab.ok(team.owner.call("DELETE", f"/v1/members/{person.id}"))
    for ended in (token, box, person.tokens["access_token"]):
        bearer = {"Authorization": f"Bearer {ended}"}
        team.lab.problem(team.lab.world.http.post("/actions/list", json={}, headers=bearer), "token_invalid")
    for table in ("people", "invites", "ledger", "members", "credentials"):
        rows = team.lab.sql(f"select * from ops.{table}")
        assert email not in str(rows), table


@pytest.mark.parametrize("whom", ["everybody", "the person"])
def test_who_leaves_while_held_is_powerless_and_unseen_and_not_forgotten(team: Team, whom: str) -> None:
    lab, own = team.lab, Team(team.lab)
    person = own.join("builder")
    email = lab.sql("select email from ops.people where member_id = %s", person.id)[0][0]
    lab.sql("insert into ops.identities (org_id, issuer, subject, member_id) select org_id, 'https://id.example', "
            "%s, id from ops.members where id = %s", f"sub-{person.id}", person.id)  # fmt: skip
    org_id = lab.sql("select org_id from ops.members where id = %s", person.id)[0][0]
    database = lab.world.context.get(Database)
    for table in ("people", "identities", "held_people"):
        with database.transaction(org_id) as unit, pytest.raises(psycopg.errors.InsufficientPrivilege):
            unit.driver.execute(f"delete from ops.{table}")  # type: ignore[arg-type]
    body = {"reason": "matter 7"} | ({"subject": person.id} if whom == "the person" else {})
    held = lab.ok(own.owner.call("POST", "/v1/audit/holds", **body), 201)
    lab.ok(own.owner.call("DELETE", f"/v1/members/{person.id}"))
    lab.problem(person.call("GET", "/v1/repos"), "token_invalid")
    assert email not in own.owner.call("GET", "/v1/members").text
    assert lab.sql("select count(*) from ops.people where member_id = %s", person.id) == [(0,)]
    kept = "select email, identities from ops.held_people where member_id = %s"
    known = [(email, [{"issuer": "https://id.example", "subject": f"sub-{person.id}"}])]
    assert lab.sql(kept, person.id) == known
    again = own.accept(own.invite(email, "viewer")["invite_token"])
    assert again.id != person.id
    audit.keeping.forget_old(lab.world.context, org_id)
    assert lab.sql(kept, person.id) == known
    lab.ok(own.owner.call("DELETE", f"/v1/audit/holds/{held['id']}"))
    audit.keeping.forget_old(lab.world.context, org_id)
    assert lab.sql(kept, person.id) == []


def test_a_token_carries_a_part_of_the_role_and_gives_no_more_away(team: Team) -> None:
    person = team.join("admin")
    made = team.lab.ok(person.call("POST", "/v1/tokens", label="mine", scopes=["read", "write"]), 201)
    assert made["token"].startswith("bos_pt_")
    narrow = Person(team, person.id, {"access_token": made["token"]})
    team.lab.ok(narrow.call("GET", "/v1/repos"))
    team.lab.problem(narrow.call("GET", "/v1/audit"), "policy_denied")
    team.lab.problem(narrow.call("POST", "/v1/tokens", label="x", scopes=["admin"]), "policy_denied")
    team.lab.ok(narrow.call("POST", "/v1/tokens", label="x", scopes=["read"]), 201)
    listed = team.lab.ok(person.call("GET", "/v1/tokens"))["items"]
    assert made["id"] in {t["id"] for t in listed}
    assert made["token"] not in str(listed)
    stranger = team.join("builder")
    team.lab.problem(stranger.call("DELETE", f"/v1/tokens/{made['id']}"), "not_found")
    with team.lab.later(days=91):
        team.lab.problem(narrow.call("GET", "/v1/repos"), "token_expired")
    team.lab.ok(person.call("DELETE", f"/v1/tokens/{made['id']}"))
    team.lab.problem(narrow.call("GET", "/v1/repos"), "token_invalid")


def test_a_service_account_works_and_approves_nothing(team: Team) -> None:
    account = team.lab.ok(team.owner.call("POST", "/v1/service-accounts", label="ci", role="builder"), 201)
    ask: Json = {"label": "ci", "service_account": account["id"]}
    refused = team.owner.call("POST", "/v1/tokens", **ask, scopes=["approve"])
    team.lab.problem(refused, "validation_failed")
    made = team.lab.ok(team.owner.call("POST", "/v1/tokens", **ask, scopes=["read", "write"]), 201)
    assert made["token"].startswith("bos_sa_")
    program = Person(team, account["id"], {"access_token": made["token"]})
    team.lab.ok(program.call("POST", "/sandbox/init", repo_name="shop"))
    builder = team.join("builder")
    team.lab.problem(builder.call("POST", "/v1/tokens", **ask, scopes=["read"]), "policy_denied")
    team.lab.ok(team.owner.call("DELETE", f"/v1/members/{account['id']}"))
    team.lab.problem(program.call("GET", "/v1/repos"), "token_invalid")


def program_of(team: Team, maker: Person, *scopes: str) -> Person:
    """A service account that is an admin, with a token, both made by this member."""
    account = team.lab.ok(maker.call("POST", "/v1/service-accounts", label="ci", role="admin"), 201)
    ask: Json = {"label": "ci", "service_account": account["id"], "scopes": scopes}
    made = team.lab.ok(maker.call("POST", "/v1/tokens", **ask), 201)
    return Person(team, account["id"], {"access_token": made["token"]})


def test_a_service_account_makes_nobody_who_could_approve_what_it_asks_for(team: Team) -> None:
    program, viewer = program_of(team, team.owner, "read", "write", "admin"), team.join("viewer")
    own = ("/v1/tokens", {"label": "x", "scopes": ["read"]})
    key = ("/v1/api-keys", {"label": "x", "scopes": ["read"]})
    for path, body in [*calls_that_let_in(viewer.id), own, key]:
        refused = team.lab.problem(program.call("POST", path, **body), "policy_denied")
        assert refused["policy_rule"] == "by-oneself", path
    for path, body in calls_that_let_in(viewer.id):
        assert team.owner.call("POST", path, **body).status_code in (200, 201), path


@pytest.mark.parametrize("ending", ["removed", "demoted"])
def test_who_is_no_admin_any_more_has_no_way_back_through_a_service_account(team: Team, ending: str) -> None:
    bob, other = team.join("admin"), team.join("admin")
    mine, theirs = (program_of(team, maker, "read", "write") for maker in (bob, other))
    ask: Json = {"label": "mine too", "service_account": theirs.id, "scopes": ["read", "write"]}
    handed = team.lab.ok(bob.call("POST", "/v1/tokens", **ask), 201)
    known = Person(team, theirs.id, {"access_token": handed["token"]})
    boxes = [
        team.lab.ok(who.call("POST", "/sandbox/init", repo_name="shop"))["reuse_token"]
        for who in (mine, theirs)
    ]
    if ending == "removed":
        told = team.lab.ok(team.owner.call("DELETE", f"/v1/members/{bob.id}"))["message"]
        assert "2 of service accounts" in told
    else:
        team.lab.ok(team.owner.call("POST", f"/v1/members/{bob.id}", role="viewer"))
    for program in (mine, known):
        team.lab.problem(program.call("GET", "/v1/repos"), "token_invalid")
    assert team.lab.ok(theirs.call("GET", "/v1/repos"))["items"]
    for box, status in zip(boxes, (401, 200), strict=True):
        bearer = {"Authorization": f"Bearer {box}"}
        reply = team.lab.world.http.post("/actions/list", json={}, headers=bearer)
        assert reply.status_code == status


def test_nobody_approves_the_own_request_by_whatever_credential(team: Team) -> None:
    admin, reviewer = team.join("admin"), team.join("reviewer")
    http = team.lab.world.http
    box = team.lab.ok(admin.call("POST", "/sandbox/init", repo_name="shop"))
    mine = {"Authorization": f"Bearer {box['reuse_token']}"}
    change = {"message": "m", "files": [{"path": f"n{next(_numbers)}.txt", "content": "x"}]}
    team.lab.ok(http.post("/commit_and_log_output", json=change, headers=mine))
    asked = team.lab.ok(http.post("/git/promote", json={"title": "t"}, headers=mine))["approval_id"]
    key = team.lab.ok(admin.call("POST", "/v1/api-keys", label="k", scopes=["approve"]), 201)["api_key"]
    by_key = Person(team, admin.id, {"access_token": key})
    for own in (admin, by_key):
        refused = own.call("POST", f"/v1/approvals/{asked}", decision="approve")
        assert team.lab.problem(refused, "policy_denied")["policy_rule"] == "no-self-approval"
    pull = team.lab.ok(reviewer.call("GET", "/v1/pulls"))["items"][0]["id"]
    for path, body in (
        (f"/v1/pulls/{pull}/reviews", {"verdict": "approve"}),
        (f"/v1/pulls/{pull}/merge", {}),
    ):
        assert admin.call("POST", path, **body).status_code == 403
    decided = team.lab.ok(reviewer.call("POST", f"/v1/approvals/{asked}", decision="approve"))
    assert (decided["state"], decided["self_approved"]) == ("approved", False)


def test_another_organisation_sees_no_member_invite_token_or_session(team: Team) -> None:
    other = Team(team.lab)
    person = team.join("builder")
    invite = team.lab.ok(team.owner.call("POST", "/v1/invites", email="o@acme.example", role="viewer"), 201)
    token = team.lab.ok(person.call("POST", "/v1/tokens", label="x", scopes=["read"]), 201)
    for method, path, body in (
        ("POST", f"/v1/members/{person.id}", {"role": "viewer"}),
        ("DELETE", f"/v1/members/{person.id}", {}),
        ("DELETE", f"/v1/invites/{invite['id']}", {}),
        ("DELETE", f"/v1/tokens/{token['id']}", {}),
        ("DELETE", f"/v1/me/sessions/{person.tokens['session_id']}", {}),
    ):
        other.lab.problem(other.owner.call(method, path, **body), "not_found")
    assert {m["id"] for m in other.lab.ok(other.owner.call("GET", "/v1/members"))["items"]} == {
        other.owner.id
    }


def test_a_session_is_listed_and_ended_by_its_own_member_alone(team: Team) -> None:
    person, stranger = team.join("viewer"), team.join("admin")
    listed = team.lab.ok(person.call("GET", "/v1/me/sessions"))["items"]
    assert [s["id"] for s in listed] == [person.tokens["session_id"]]
    team.lab.problem(stranger.call("DELETE", f"/v1/me/sessions/{person.tokens['session_id']}"), "not_found")
    with team.lab.later(minutes=16):
        team.lab.problem(person.call("GET", "/v1/me/sessions"), "token_expired")
    team.lab.ok(person.call("DELETE", f"/v1/me/sessions/{person.tokens['session_id']}"))
    team.lab.problem(person.call("GET", "/v1/me/sessions"), "token_invalid")


def test_a_member_leaves_with_everything_and_the_last_owner_cannot(team: Team) -> None:
    other = Team(team.lab)
    other.lab.problem(other.owner.call("DELETE", "/v1/me/membership", confirm=other.slug), "conflict")
    person = other.join("builder")
    box = other.lab.ok(other.owner.call("POST", "/v1/repos", name="shop"), 201)
    mine = other.lab.ok(person.call("POST", "/sandbox/init", repo_name=box["repo_name"]))["reuse_token"]
    other.lab.problem(person.call("DELETE", "/v1/me/membership", confirm="acme"), "validation_failed")
    other.lab.ok(person.call("DELETE", "/v1/me/membership", confirm=other.slug))
    for ended in (mine, person.tokens["access_token"]):
        bearer = {"Authorization": f"Bearer {ended}"}
        other.lab.problem(
            other.lab.world.http.post("/actions/list", json={}, headers=bearer), "token_invalid"
        )
    refresh = {"refresh_token": person.tokens["refresh_token"]}
    other.lab.problem(other.lab.world.http.post("/v1/auth/refresh", json=refresh), "token_invalid")
    assert person.id not in {m["id"] for m in other.lab.ok(other.owner.call("GET", "/v1/members"))["items"]}


def test_an_owner_hands_the_organisation_over_and_stays_as_an_admin(team: Team) -> None:
    other = Team(team.lab)
    admin, heir = other.join("admin"), other.join("viewer")
    program = other.lab.ok(other.owner.call("POST", "/v1/service-accounts", label="ci", role="admin"), 201)
    path = "/v1/members/{}/ownership".format
    other.lab.problem(admin.call("POST", path(heir.id)), "policy_denied")
    for nobody in (program["id"], other.owner.id):
        other.lab.problem(other.owner.call("POST", path(nobody)), "validation_failed")
    assert other.lab.ok(other.owner.call("POST", path(heir.id)))["role"] == "org_owner"
    roles = {m["id"]: m["role"] for m in other.lab.ok(heir.call("GET", "/v1/members"))["items"]}
    assert (roles[heir.id], roles[other.owner.id]) == ("org_owner", "admin")
    other.lab.problem(other.owner.call("POST", path(admin.id)), "policy_denied")


def test_who_leaves_has_no_part_in_what_is_undecided(team: Team) -> None:
    other = Team(team.lab)
    other.lab.ok(other.owner.call("POST", "/v1/repos", name="shop"), 201)
    builder, first, second = other.join("builder"), other.join("admin"), other.join("admin")
    rule = "{id: two, when: {action: [pull.merge]}, from: [Admin, Owner], count: 2}"
    asked = other.lab.ok(
        first.call("PUT", "/v1/policies", content=f"version: 1\napprovals:\n- {rule}\n", reason="x")
    )
    other.lab.ok(second.call("POST", f"/v1/approvals/{asked['approval_id']}", decision="approve"))
    mine, theirs = ask_for_main(builder), ask_for_main(other.owner)
    half = other.lab.ok(first.call("POST", f"/v1/approvals/{theirs}", decision="approve"))
    assert half["state"] == "pending"
    for gone in (builder, first):
        other.lab.ok(other.owner.call("DELETE", f"/v1/members/{gone.id}"))
    assert other.lab.ok(second.call("GET", f"/v1/approvals/{mine}"))["state"] == "cancelled"
    still = other.lab.ok(second.call("POST", f"/v1/approvals/{theirs}", decision="approve"))
    assert still["state"] == "pending", "the yes of somebody who left does not count"
    third = other.join("admin")
    done = other.lab.ok(third.call("POST", f"/v1/approvals/{theirs}", decision="approve"))
    assert done["state"] == "approved"


@pytest.mark.parametrize("ending", ["demoted", "grant ended"])
def test_a_yes_counts_no_longer_than_the_right_to_give_it(team: Team, ending: str) -> None:
    other = Team(team.lab)
    other.lab.ok(other.owner.call("POST", "/v1/repos", name="shop"), 201)
    builder, first, second, third = (other.join(r) for r in ("builder", "admin", "admin", "admin"))
    rule = "{id: two, when: {action: [pull.merge]}, from: [Admin, Owner, Reviewer], count: 2}"
    asked = other.lab.ok(
        third.call("PUT", "/v1/policies", content=f"version: 1\napprovals:\n- {rule}\n", reason="x")
    )
    other.lab.ok(second.call("POST", f"/v1/approvals/{asked['approval_id']}", decision="approve"))
    if ending == "grant ended":
        other.lab.ok(other.owner.call("POST", f"/v1/members/{first.id}", role="viewer"))
        repo = other.lab.ok(other.owner.call("GET", "/v1/repos"))["items"][0]["id"]
        given = other.lab.ok(
            other.owner.call("POST", "/v1/grants", member_id=first.id, place=repo, role="reviewer"), 201
        )
    request = ask_for_main(builder)
    other.lab.ok(first.call("POST", f"/v1/approvals/{request}", decision="approve"))
    if ending == "grant ended":
        other.lab.ok(other.owner.call("DELETE", f"/v1/grants/{given['id']}"))
    else:
        other.lab.ok(other.owner.call("POST", f"/v1/members/{first.id}", role="viewer"))
    still = other.lab.ok(second.call("POST", f"/v1/approvals/{request}", decision="approve"))
    assert still["state"] == "pending", "whoever may not decide has not decided"
    assert [d.get("void") for d in still["decisions"]] == ["the right to approve ended", None]
    done = other.lab.ok(third.call("POST", f"/v1/approvals/{request}", decision="approve"))
    assert done["state"] == "approved"


def ask_for_main(person: Person) -> str:
    """An open request to take a change of this member into main."""
    lab, http = person.team.lab, person.team.lab.world.http
    box = lab.ok(person.call("POST", "/sandbox/init", repo_name="shop"))
    bearer = {"Authorization": f"Bearer {box['reuse_token']}"}
    change = {"message": "m", "files": [{"path": f"n{next(_numbers)}.txt", "content": "x"}]}
    lab.ok(http.post("/commit_and_log_output", json=change, headers=bearer))
    return lab.ok(http.post("/git/promote", json={"title": "t"}, headers=bearer))["approval_id"]
