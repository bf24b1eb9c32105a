"""A clone is a read of everything: it has its row among the accesses."""

from tests.interfaces.git.conftest import Live


def test_a_clone_has_its_row_and_the_list_of_refs_has_none(live: Live) -> None:
    live.clone("first")
    rows = live.rows(
        "select action, branch, path, door, tool, role from ops.accesses where action = 'git.fetch'"
    )
    assert set(rows) == {("git.fetch", live.sandbox.branch, None, "git", "git fetch", "sandbox")}
    refs = live.world.http.get("/git/lab.git/info/refs?service=git-upload-pack", headers=live.sandbox.headers)
    assert refs.status_code in (200, 401)
    assert live.rows("select count(*) from ops.accesses where action = 'git.fetch'") == [(len(rows),)]
