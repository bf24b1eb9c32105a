"""Files, log and diff through HTTP."""

import json
from typing import Any

import pytest

from tests.support.lab import Lab
from tests.support.world import Sandbox, git, make_repository


@pytest.fixture
def box(lab: Lab) -> Sandbox:
    return lab.open_sandbox()


def shas(box: Sandbox, **body: object) -> list[str]:
    """Every commit that the pages of the log list."""
    found: list[str] = []
    page = box.post("/git/log", **body)
    while True:
        found += [i["sha"] for i in page["items"]]
        if page["next_cursor"] is None:
            return found
        page = box.post("/git/log", cursor=page["next_cursor"], **body)


def folder(lab: Lab, box: Sandbox) -> str:
    return str(
        lab.world.home / "repos" / lab.sql("select store from ops.branches where name = %s", box.branch)[0][0]
    )


def test_fifty_files_are_read_in_one_call_and_fifty_one_refused(lab: Lab, box: Sandbox) -> None:
    box.commit({f"f/{n}.txt": f"{n}\n" for n in range(51)})
    paths = [f"f/{n}.txt" for n in range(51)]
    reply = box.post("/system/fetch_files", mode="batch", paths=[*paths[:49], "no/such"])
    assert [f["content"] for f in reply["files"]] == [f"{n}\n" for n in range(49)]
    assert reply["missing"] == ["no/such"]
    lab.problem(box.try_post("/system/fetch_files", mode="batch", paths=paths), "validation_failed")
    twice = box.post("/system/fetch_files", mode="batch", paths=["f/1.txt", "f/1.txt"])
    assert len(twice["files"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {}, {"mode": "single"}, {"mode": "batch"}, {"path": "a", "paths": ["b"]}, {"mode": "batch", "path": "a"},
        {"mode": "tree", "path": "a"}, {"path": "a", "at": "main"}, {"path": 7},
    ],
)  # fmt: skip
def test_a_read_whose_mode_and_members_do_not_fit_is_refused(lab: Lab, body: dict[str, object]) -> None:
    lab.problem(lab.open_sandbox().try_post("/system/fetch_files", **body), "validation_failed")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", ".git/HEAD", "a\x00b", "", "a//b"])
def test_a_read_of_an_unsafe_path_is_refused(lab: Lab, path: str) -> None:
    lab.problem(lab.open_sandbox().try_post("/system/fetch_files", path=path), "invalid_path")


def test_a_reply_ends_at_ninety_thousand_characters(lab: Lab, box: Sandbox) -> None:
    box.commit({"a": "a" * 60_000, "b": "é" * 60_000, "c": "c"})
    reply = box.post("/system/fetch_files", mode="batch", paths=["a", "b", "c"])
    assert [(len(f["content"]), f["truncated"]) for f in reply["files"]] == [
        (60_000, False),
        (30_000, True),
        (0, True),
    ]
    assert reply["files"][1]["size"] == 120_000
    assert reply["files"][1]["sha"] == git("rev-parse", f"{box.branch}:b", cwd=folder(lab, box))


@pytest.mark.parametrize("char", ["\n", '"', "\\", "\x01", "日"])
def test_a_reply_stays_below_its_limit_whatever_must_be_escaped(lab: Lab, box: Sandbox, char: str) -> None:
    box.commit({"a": char * 95_000, "b": "x"})
    response = box.try_post("/system/fetch_files", mode="batch", paths=["a", "b"])
    assert lab.ok(response)["files"][0]["truncated"] is True
    assert len(response.text) < 100_000
    whole = char * 95_000
    assert whole.startswith(lab.ok(response)["files"][0]["content"])


def test_binary_is_cut_where_base64_can_be_decoded(lab: Lab, box: Sandbox) -> None:
    import base64

    data = bytes(range(256)) * 400
    files = [{"path": "b", "content": base64.b64encode(data).decode(), "encoding": "base64"}]
    box.post("/commit_and_log_output", files=files, message="m")
    found = box.post("/system/fetch_files", path="b")["files"][0]
    assert (found["encoding"], found["truncated"]) == ("base64", True)
    assert data.startswith(base64.b64decode(found["content"], validate=True))


def test_an_earlier_commit_of_the_branch_can_be_read_and_no_other(lab: Lab, box: Sandbox) -> None:
    first = box.commit({"a": "1"})["commit_sha"]
    box.commit({"a": "2"})
    assert box.post("/system/fetch_files", path="a", at=first)["files"][0]["content"] == "1"
    foreign = lab.open_sandbox().commit({"a": "secret"})["commit_sha"]
    for sha in (foreign, "0" * 40, git("rev-parse", f"{first}:a", cwd=folder(lab, box))):
        lab.problem(box.try_post("/system/fetch_files", path="a", at=sha), "not_found")


def test_the_log_pages_without_gaps_or_doubles_while_commits_arrive(lab: Lab, box: Sandbox) -> None:
    made = [box.commit({"a": f"{n}"})["commit_sha"] for n in range(5)]
    first = box.post("/git/log", limit=2)
    assert [i["sha"] for i in first["items"]] == [made[4], made[3]]
    box.commit({"b": "late"})
    second = box.post("/git/log", limit=2, cursor=first["next_cursor"])
    assert [i["sha"] for i in second["items"]] == [made[2], made[1]]


@pytest.mark.parametrize("limit", [1, 2, 3, 200])
def test_the_log_shows_both_sides_of_a_merge_on_every_page_size(lab: Lab, limit: int) -> None:
    box, other = lab.open_sandbox(), lab.open_sandbox()
    for number in range(3):
        box.commit({f"mine{limit}": f"{number}"})
        other.commit({f"theirs{limit}": f"{number}"})
    lab.merged(other)
    path = f"/v1/sandboxes/{lab.sandbox_id(box)}/update"
    lab.ok(lab.world.http.post(path, json={}, headers=box.headers))
    box.commit({"after": "1"})
    assert shas(box, limit=limit) == git("rev-list", "--topo-order", box.branch, cwd=folder(lab, box)).split()


def test_the_log_of_a_path_lists_what_changed_it(lab: Lab, box: Sandbox) -> None:
    one = box.commit({"d/a": "1", "x": "1"})["commit_sha"]
    box.commit({"x": "2"})
    two = box.commit({"d/b": "1"})["commit_sha"]
    gone = box.commit({"d/a": None})["commit_sha"]
    assert shas(box, path="d/a") == [gone, one]
    assert shas(box, path="d") == shas(box, path="d/", limit=1) == [gone, two, one]
    assert shas(box, path="no/such") == []
    assert shas(box, path="d/a/x") == []


def test_a_cursor_of_another_list_is_refused(lab: Lab, box: Sandbox) -> None:
    other = lab.open_sandbox()
    for sandbox in (box, other):
        for number in range(3):
            sandbox.commit({"a": f"{number}"})
    cursor = box.post("/git/log", limit=1)["next_cursor"]
    lab.problem(box.try_post("/git/log", cursor=cursor, path="a"), "validation_failed")
    lab.problem(other.try_post("/git/log", cursor=cursor), "validation_failed")
    lab.problem(box.try_post("/system/backup/list", cursor=cursor), "validation_failed")
    sandboxes = lab.ok(lab.as_owner("GET", "/v1/sandboxes", params={"limit": 1}))["next_cursor"]
    for bad in (sandboxes, "", "%%%", "x" * 900, "W10", cursor[:-3]):
        lab.problem(box.try_post("/git/log", cursor=bad), "validation_failed")
    for limit in (0, 201, "many"):
        lab.problem(box.try_post("/git/log", limit=limit), "validation_failed")


def test_a_log_of_long_messages_stays_below_the_limit_of_a_reply(lab: Lab, box: Sandbox) -> None:
    for number in range(60):
        box.commit({"a": f"{number}"}, message="words " * 400)
    response = box.try_post("/git/log", limit=200)
    assert len(response.text) < 100_000
    assert len(shas(box, limit=200)) == 60 + len(git("rev-list", "main", cwd=folder(lab, box)).split())


def test_a_diff_is_what_git_would_apply(lab: Lab, box: Sandbox) -> None:
    box.commit({"new.txt": "1\n2\n", "src/app.py": "print(2)\n", "README.md": None})
    reply = box.post("/git/diff")
    assert {f["path"]: f["status"] for f in reply["files"] if not f["path"].startswith("project/")} == {
        "new.txt": "added", "src/app.py": "modified", "README.md": "deleted",
    }  # fmt: skip
    base = lab.tip("main")
    assert (reply["from_sha"], reply["to_sha"]) == (base, lab.tip(box.branch))
    clone = lab.world.home / f"apply-{box.branch}"
    git("clone", "-q", folder(lab, box), str(clone), "-b", "main")
    git("checkout", "-q", base, cwd=clone)
    git("apply", "--index", "-", cwd=clone, stdin=reply["diff"].encode())
    assert git("write-tree", cwd=clone) == git("rev-parse", f"{box.branch}^{{tree}}", cwd=folder(lab, box))
    assert [e["message"] for e in reply["changelog_delta"]] == ["Change"]
    assert box.branch in reply["message"]
    assert "lab" in reply["message"]


def test_every_form_of_a_diff_compares_what_it_names(lab: Lab, box: Sandbox) -> None:
    one = box.commit({"a": "1\n"})["commit_sha"]
    two = box.commit({"a": "2\n"})["commit_sha"]
    box.commit({"a": "3\n"})

    def sides(**body: object) -> tuple[str, str]:
        text = box.post("/git/diff", path="a", **body)["diff"].splitlines()
        return next(x for x in text if x.startswith("-") and x != "--- a/a"), text[-1]

    assert sides(**{"from": one, "to": two}) == ("-1", "+2")
    assert sides(**{"from": one}) == ("-1", "+3")
    assert sides(against=two) == ("-2", "+3")
    assert sides(to=two)[1] == "+2"
    assert sides(**{"from": box.branch, "to": one}) == ("-3", "+1")
    assert box.post("/git/diff", against="main")["from_sha"] == lab.tip("main")
    assert box.post("/git/diff", **{"from": one, "to": one})["diff"] == ""


def test_a_diff_names_only_what_the_caller_may_read(lab: Lab, box: Sandbox) -> None:
    foreign = lab.open_sandbox().commit({"a": "secret"})["commit_sha"]
    for side in ("from", "to", "against"):
        lab.problem(box.try_post("/git/diff", **{side: foreign}), "not_found")
        lab.problem(box.try_post("/git/diff", **{side: "0" * 40}), "not_found")
        for bad in ("HEAD", "main~1", "--output=x", "sandbox-other-one", "refs/bos/backup/x"):
            lab.problem(box.try_post("/git/diff", **{side: bad}), "validation_failed")


def test_a_large_diff_is_cut_and_says_so(lab: Lab, box: Sandbox) -> None:
    box.commit({"a": "\x01\n" * 40_000}, message="x" * 15_000)
    for number in range(3):
        box.commit({f"{'p' * 200}{n}/{'q' * 200}{number}": "x" for n in range(60)}, message="y" * 15_000)
    response = box.try_post("/git/diff")
    assert lab.ok(response)["truncated"] is True
    assert len(response.text) < 100_000
    assert lab.ok(response)["diff_stat"]["files"] > 180


def test_a_mode_only_change_is_shown_as_a_difference(lab: Lab) -> None:
    source = make_repository(lab.world.home / "modes", {"run.sh": "x\n"})
    first = git("rev-parse", "HEAD", cwd=source)
    git("update-index", "--chmod=+x", "run.sh", cwd=source)
    git("commit", "-qm", "x", cwd=source)
    lab.world.import_repo(source, "modes")
    box = lab.open_sandbox("modes")
    reply = box.post("/git/diff", **{"from": first})
    assert [(f["path"], f["added"], f["deleted"]) for f in reply["files"]] == [("run.sh", 0, 0)]
    assert "run.sh" in reply["diff"]
    assert json.dumps(reply)


def test_folders_are_listed_one_at_a_time_and_page_by_page(lab: Lab, box: Sandbox) -> None:
    box.commit({"shop/tea.txt": "green\n", "shop/far/away.txt": "x\n", "top.txt": "t\n"})

    shop = listed(lab, box, folder="shop")
    assert [(one["path"], one["kind"]) for one in shop["items"]] == [
        ("shop/far", "folder"), ("shop/tea.txt", "file"),
    ]  # fmt: skip
    assert shop["items"][1]["sha"] == box.post("/system/fetch_files", path="shop/tea.txt")["files"][0]["sha"]
    names = [one["name"] for one in listed(lab, box)["items"]]
    first = listed(lab, box, limit=1)
    rest = listed(lab, box, cursor=first["next_cursor"])
    assert [one["name"] for one in (*first["items"], *rest["items"])] == names
    assert rest["next_cursor"] is None
    assert "top.txt" in names
    assert "shop" not in [one["name"] for one in listed(lab, box, at=shas(box)[-1])["items"]]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"folder": "../x"}, "invalid_path"), ({"folder": "no"}, "not_found"), ({"at": "0" * 40}, "not_found"),
        ({"folder": "README.md"}, "not_found"), ({"cursor": "x"}, "validation_failed"),
    ],
)  # fmt: skip
def test_a_folder_that_is_not_there_is_refused(lab: Lab, asked: dict[str, str], code: str) -> None:
    box = lab.open_sandbox()
    lab.problem(lab.world.http.get("/v1/files", params=asked, headers=box.headers), code)


def listed(lab: Lab, box: Sandbox, **asked: str | int) -> Any:
    return lab.world.ok(lab.world.http.get("/v1/files", params=asked, headers=box.headers))
