"""A clone is a read of everything: it has its row among the accesses."""

from tests.interfaces.git.conftest import Live


def test_a_clone_has_its_row_and_the_list_of_refs_has_none(alone: Live) -> None:
    alone.clone("first")
    rows = alone.rows(
        "select action, branch, path, door, tool, role from ops.accesses where action = 'git.fetch'"
    )
    assert set(rows) == {("git.fetch", alone.sandbox.branch, None, "git", "git fetch", "sandbox")}
    refs = alone.world.http.get(
        "/git/lab.git/info/refs?service=git-upload-pack", headers=alone.sandbox.headers
    )
    assert refs.status_code in (200, 401)
    assert alone.rows("select count(*) from ops.accesses where action = 'git.fetch'") == [(len(rows),)]
