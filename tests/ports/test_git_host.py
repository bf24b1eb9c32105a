"""What every git host must do; each adapter runs through the same sentences."""

import pytest

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.workspaces.ports import GitHost, GitHosts, HostPull
from builderos.core.actor import Actor
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, perform
from tests.support.world import Sandbox, World

HOSTS = ["local"]


class Case:
    """One host in one world, with a sandbox that has a commit and an open promotion."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.host: GitHost = world.context.get(GitHosts).get(name)
        self.sandbox: Sandbox = world.open_sandbox()
        self.head = self.sandbox.commit({"src/new.py": "1\n"})["commit_sha"]
        self.pull_id = self.sandbox.post("/git/promote", title="New")["promotion_id"]
        self.owner = Actor("owner", "act_owner", "owner", world.org_id, "full")

    def run(self, verb):
        return perform(self.world.context, Call(self.owner, "valid", tool="test@1"), verb)

    def branch(self, unit: Unit, name: str | None = None) -> Branch:
        repo = repositories.find_repository(unit, "lab")
        found = repositories.find_branch(unit, repo.id, name or self.sandbox.branch)
        assert found is not None
        repositories.ready(unit, found)
        return found


@pytest.fixture(params=HOSTS)
def case(request: pytest.FixtureRequest, world: World) -> Case:
    return Case(world, request.param)


def test_a_push_shows_the_tip_and_may_be_repeated(case: Case) -> None:
    for _ in range(2):
        assert case.run(lambda unit: case.host.push(unit, case.branch(unit))) == case.head


def test_a_push_heals_a_ref_that_was_lost(case: Case) -> None:
    store = case.world.context.get(repositories.RepositoryStore)
    branch = case.run(case.branch)
    store.delete_ref(branch.store, branch.ref)
    case.run(lambda unit: case.host.push(unit, case.branch(unit)))
    assert store.read_ref(branch.store, branch.ref) == case.head


def test_a_push_never_rewrites_what_the_host_shows(case: Case) -> None:
    store = case.world.context.get(repositories.RepositoryStore)
    branch = case.run(case.branch)
    ahead = store.open(branch.store).create_commit(
        None, *[store.open(branch.store)[case.head].author] * 2, "ahead", store.open(branch.store)[case.head].tree.id,
        [case.head],
    )  # fmt: skip
    store.write_ref(branch.store, branch.ref, str(ahead))
    with pytest.raises(Problem) as refused:
        case.run(lambda unit: case.host.push(unit, case.branch(unit)))
    assert refused.value.code == "conflict"
    assert store.read_ref(branch.store, branch.ref) == str(ahead)


def test_a_pull_request_has_one_address_however_often_it_is_opened(case: Case) -> None:
    def opened(unit: Unit) -> str:
        pull = HostPull(case.pull_id, case.branch(unit), case.branch(unit, "main"), "New", "body")
        return case.host.open_pull(unit, pull)

    first = case.run(opened)
    assert case.pull_id in first
    assert case.run(opened) == first


def test_a_comment_is_kept_with_its_pull_request(case: Case) -> None:
    where = case.run(lambda unit: case.host.comment(unit, case.pull_id, "looks good"))
    assert case.pull_id in where
    shown = case.world.as_owner("GET", f"/v1/pulls/{case.pull_id}").json()
    assert [c["text"] for c in shown["comments"]] == ["looks good"]


def test_a_comment_on_an_unknown_pull_request_is_refused(case: Case) -> None:
    with pytest.raises(Problem) as refused:
        case.run(lambda unit: case.host.comment(unit, "pul_unknown", "hello"))
    assert refused.value.code == "not_found"


def test_a_merge_is_believed_only_when_the_target_is_there(case: Case) -> None:
    main = case.run(lambda unit: case.branch(unit, "main"))
    case.run(lambda unit: case.host.merged(unit, case.pull_id, main, main.tip))
    with pytest.raises(Problem) as refused:
        case.run(lambda unit: case.host.merged(unit, case.pull_id, main, case.head))
    assert refused.value.code == "conflict"


def test_main_is_protected_in_every_way(case: Case) -> None:
    def look(unit: Unit):
        return case.host.protections(unit, repositories.find_repository(unit, "lab"))

    found = {p.branch: p for p in case.run(look)}
    main = found["main"]
    assert main.direct_writes
    assert main.force_pushes
    assert main.deletion
    assert main.needs_approval
    assert found["sandbox"].direct_writes


def test_protection_is_reported_through_the_api(case: Case) -> None:
    repo = case.world.as_owner("GET", "/v1/repos").json()["items"][0]
    reply = case.world.ok(
        case.world.as_owner("POST", f"/v1/repos/{repo['id']}/protect", json={"dry_run": True})
    )
    assert reply["protected"] is True
    assert {b["branch"] for b in reply["branches"]} >= {"main", "sandbox"}
