"""An organisation ends: closed by an owner, kept by an owner, or erased without a trace in anybody else's things."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from builderos.core.home import org_roots
from builderos.core.unit import as_system
from builderos.trust.ledger import service as ledger
from builderos.trust.orgs import closing
from builderos.trust.orgs.ports import Holds
from builderos.trust.secrets.service import Keyring
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.teams import Person, Team

KEPT = {"orgs", "ledger", "ledger_head", "ledger_nodes", "ledger_terms", "checkpoints"}


@pytest.fixture(scope="module")
def own_lab(databases: Databases) -> Iterator[Lab]:
    with lab_in_temp(databases) as lab:
        yield lab


class Busy(Team):
    """An organisation in which something has happened."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        lab.ok(self.owner.call("POST", "/v1/repos", name="shop"), 201)
        self.builder = self.join("builder")
        place = lab.ok(self.owner.call("POST", "/v1/workspaces", name="All"), 201)
        body = {"workspace_id": place["id"], "name": "shop"}
        self.project = lab.ok(self.owner.call("POST", "/v1/projects", **body), 201)
        grant = {"member_id": self.builder.id, "role": "admin", "place": self.project["id"]}
        lab.ok(self.owner.call("POST", "/v1/grants", **grant), 201)
        box = lab.ok(self.builder.call("POST", "/sandbox/init", repo_name="shop"))
        self.token = box["reuse_token"]
        bearer = {"Authorization": f"Bearer {self.token}"}
        change = {"message": "m", "files": [{"path": "a.txt", "content": "x"}], "idempotency_key": "k"}
        lab.ok(lab.world.http.post("/commit_and_log_output", json=change, headers=bearer))
        lab.ok(lab.world.http.post("/git/promote", json={"title": "t"}, headers=bearer))
        lab.ok(lab.world.http.post("/system/backup", json={}, headers=bearer))

    @property
    def id(self) -> str:
        return self.made["id"]

    def close(self, by: Person | None = None, **body: Any) -> Any:
        body = {"confirm": self.slug} | body
        return (by or self.owner).call("POST", f"/v1/orgs/{self.id}/close", **body)

    def due(self) -> None:
        """Close it, and let its thirty days be over."""
        self.lab.ok(self.close())
        self.lab.sql("update ops.orgs set erase_at = now() - interval '1 s' where id = %s", self.id)

    def rows(self) -> dict[str, int]:
        """How many rows it has in every table that holds any."""
        tables = [
            name
            for (name,) in self.lab.sql(
                "select relname from pg_class where relnamespace = 'ops'::regnamespace and relkind in ('r', 'p')"
            )
        ]
        counts = {
            t: self.lab.sql(f"select count(*) from ops.{t} where org_id = %s", self.id)[0][0] for t in tables
        }
        return {name: count for name, count in counts.items() if count}

    def fingerprint(self) -> str:
        """A hash of all its files and all its rows."""
        found = hashlib.sha256()
        for root in org_roots(self.lab.world.home, self.id):
            for path in sorted(root.rglob("*")):
                found.update(
                    str(path.relative_to(root)).encode() + (path.read_bytes() if path.is_file() else b"/")
                )
        for table in sorted(self.rows()):
            text = f"select string_agg(t::text, '|' order by t::text) from ops.{table} t where org_id = %s"
            found.update(f"{table}{self.lab.sql(text, self.id)[0][0]}".encode())
        return found.hexdigest()

    def files(self) -> int:
        """How many files and folders it has."""
        return sum(
            1 for root in org_roots(self.lab.world.home, self.id) if root.exists() for _ in root.rglob("*")
        )


def test_only_an_owner_closes_and_only_by_typing_the_name(own_lab: Lab) -> None:
    team, other = Busy(own_lab), Team(own_lab)
    admin = team.join("admin")
    own_lab.problem(team.close(by=admin), "policy_denied")
    own_lab.problem(team.close(confirm="acme"), "validation_failed")
    own_lab.problem(team.close(by=other.owner), "not_found")
    local = own_lab.world.org_id
    refused = own_lab.as_owner("POST", f"/v1/orgs/{local}/close", json={"confirm": "local"})
    own_lab.problem(refused, "conflict")
    assert own_lab.ok(team.owner.call("GET", f"/v1/orgs/{team.slug}"))["closing_at"] is None


def test_a_closing_organisation_is_powerless_but_for_owners_who_can_keep_it(own_lab: Lab) -> None:
    team, http = Busy(own_lab), own_lab.world.http
    own_lab.ok(team.owner.call("POST", f"/v1/orgs/{team.id}", anonymous=True))
    key = own_lab.ok(team.owner.call("POST", "/v1/api-keys", label="k", scopes=["admin"]), 201)["api_key"]
    closed = own_lab.ok(team.close())
    assert closed["erase_at"] > closed["closing_at"]
    for dead in (team.token, team.builder.tokens["access_token"], key):
        bearer = {"Authorization": f"Bearer {dead}"}
        own_lab.problem(http.post("/actions/list", json={}, headers=bearer), "token_invalid")
    stranger = {"org_slug": team.slug, "repo_name": "shop"}
    own_lab.problem(http.post("/sandbox/init", json=stranger), "unauthenticated")
    for path in ("/v1/repos", "/v1/members", "/v1/projects"):
        refused = own_lab.problem(team.owner.call("GET", path), "policy_denied")
        assert refused["policy_rule"] == "closing-organisation"
    own_lab.ok(team.owner.call("GET", "/v1/audit"))
    assert own_lab.ok(team.owner.call("GET", f"/v1/orgs/{team.slug}"))["erase_at"]
    own_lab.problem(team.close(), "conflict")
    own_lab.ok(team.owner.call("POST", f"/v1/orgs/{team.id}/keep"))
    bearer = {"Authorization": f"Bearer {team.token}"}
    own_lab.ok(http.post("/actions/list", json={}, headers=bearer))
    own_lab.ok(team.owner.call("GET", "/v1/repos"))
    own_lab.problem(team.owner.call("POST", f"/v1/orgs/{team.id}/keep"), "conflict")


def test_nothing_is_erased_before_its_time(own_lab: Lab) -> None:
    team = Busy(own_lab)
    own_lab.ok(team.close())
    before = team.fingerprint()
    assert closing.erase_due(own_lab.world.context) == 0
    with pytest.raises(Exception, match="not to be erased now"):
        as_system(own_lab.world.context, team.id, lambda unit: unit.ask("ops.erase_org"))
    assert team.fingerprint() == before


def test_erasing_one_organisation_leaves_the_other_as_it_was(own_lab: Lab) -> None:
    gone, stays = Busy(own_lab), Busy(own_lab)
    mail = own_lab.sql("select email from ops.people where org_id = %s", gone.id)
    lines = gone.rows()["ledger"]
    gone.due()
    before = stays.fingerprint()
    assert gone.files()
    assert closing.erase_due(own_lab.world.context) == 1
    assert stays.fingerprint() == before
    assert gone.files() == 0
    assert set(gone.rows()) <= KEPT
    assert gone.rows()["ledger"] == lines + 2, "the ledger stays, with how it ended"
    assert as_system(own_lab.world.context, gone.id, ledger.verify_stored, read_only=True).ok
    with pytest.raises(LookupError):
        as_system(own_lab.world.context, gone.id, own_lab.world.context.get(Keyring).keys, read_only=True)
    everything = str(own_lab.sql("select * from ops.ledger where org_id = %s", gone.id)) + str(
        own_lab.sql("select * from ops.orgs where id = %s", gone.id)
    )
    assert mail
    assert not [address for (address,) in mail if address in everything]
    own_lab.problem(gone.owner.call("GET", "/v1/me"), "token_invalid")
    assert gone.id not in own_lab.world.context.get(closing.Database).organisations("schedule")
    again = {"slug": gone.slug, "name": "x", "owner_email": "x@x.example"}
    own_lab.ok(own_lab.as_owner("POST", "/v1/orgs", json=again), 201)


@pytest.mark.parametrize("moment", ["among the files", "before the rows", "with the rows"])
def test_what_a_crash_leaves_the_doctor_finishes(own_lab: Lab, moment: str) -> None:
    gone, stays = Busy(own_lab), Busy(own_lab)
    gone.due()
    before = stays.fingerprint()
    crash = mock.Mock(side_effect=KeyboardInterrupt)
    spots = {
        "among the files": mock.patch.object(closing.shutil, "rmtree", torn),
        "before the rows": mock.patch.object(closing, "_erase_rows", crash),
        "with the rows": mock.patch.object(closing.ledger, "record", crash),
    }
    with spots[moment], pytest.raises(KeyboardInterrupt):
        closing.erase(own_lab.world.context, gone.id)
    assert gone.rows()["members"], "rows go all at once"
    looked = own_lab.ok(own_lab.as_owner("POST", "/v1/admin/doctor", json={}))
    assert [c["ok"] for c in looked["checks"] if c["name"] == "erasures"] == [False]
    mended = own_lab.ok(own_lab.as_owner("POST", "/v1/admin/doctor", json={"fix": True}))
    assert [(c["ok"], c["fixed"]) for c in mended["checks"] if c["name"] == "erasures"] == [(True, True)]
    assert gone.files() == 0
    assert set(gone.rows()) <= KEPT
    assert stays.fingerprint() == before


def torn(root: Path) -> None:
    """Remove a part of a folder, and die."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    for path in files[: len(files) // 2]:
        path.unlink()
    raise KeyboardInterrupt


def test_what_is_held_is_neither_closed_nor_erased(own_lab: Lab) -> None:
    team = Busy(own_lab)
    holds = own_lab.world.context.get(Holds)
    holds.enrol("court", lambda unit: "the court" if unit.org_id == team.id and held else None)
    held = True
    own_lab.problem(team.close(), "conflict")
    held = False
    team.due()
    held = True
    before = team.fingerprint()
    assert closing.erase_due(own_lab.world.context) == 0
    assert team.fingerprint() == before
