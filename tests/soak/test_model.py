"""The whole sandbox against a plain model in memory, driven by random stories through the HTTP door."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tests.support.databases import Databases
from tests.support.world import Sandbox, World

pytestmark = pytest.mark.soak
LONG = bool(os.environ.get("BUILDEROS_SOAK"))
PATHS = ("a.txt", "b.txt", "src/a.py", "src/deep/b.py", "docs/ü.md")
OWN = ("project/", ".logs/", "README.md")
Files = dict[str, str]

paths = st.sampled_from(PATHS)
contents = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00\r", exclude_categories=("Cs",)), max_size=30
)
edit_sets = st.dictionaries(paths, st.none() | contents, min_size=1, max_size=4)
WORLD: list[World] = []


class Story(RuleBasedStateMachine):
    """Two sandboxes of one repository; `files` is what each must hold, `main` what main must hold."""

    commits = Bundle("commits")
    backups = Bundle("backups")

    @initialize(target=commits)
    def open(self) -> Any:
        self.world = WORLD[0]
        number = len(self.world.ok(self.world.as_owner("GET", "/v1/repos", params={"limit": 200}))["items"])
        self.repo = f"story-{number}-{os.urandom(4).hex()}"
        self.world.ok(self.world.as_owner("POST", "/v1/repos", json={"name": self.repo}), 201)
        self.sandboxes: list[Sandbox] = [self.world.open_sandbox(self.repo) for _ in range(2)]
        self.files: list[Files] = [{}, {}]
        self.main: Files = {}
        self.history: list[list[str]] = [[], []]
        self.base: list[Files] = [{}, {}]
        return multiple()

    def _id(self, who: int) -> str:
        items = self.world.ok(
            self.world.as_owner("GET", "/v1/sandboxes", params={"repo_name": self.repo, "limit": 200})
        )["items"]
        return next(i["id"] for i in items if i["branch"] == self.sandboxes[who].branch)

    def _read(self, who: int, branch: str | None = None) -> Files:
        reply = self.sandboxes[who].post(
            "/system/fetch_files", mode="batch", paths=list(PATHS), **({"branch": branch} if branch else {})
        )
        return {f["path"]: f["content"] for f in reply["files"]}

    @rule(
        target=commits,
        who=st.integers(0, 1),
        edits=st.dictionaries(paths, st.none() | contents, min_size=1, max_size=4),
    )
    def commit(self, who: int, edits: dict[str, str | None]) -> Any:
        wanted = {p: c for p, c in edits.items() if c is not None or p in self.files[who]}
        changes = {p: c for p, c in wanted.items() if self.files[who].get(p) != c}
        if not wanted:
            return multiple()
        listed = [
            {"path": p, "delete": True} if c is None else {"path": p, "content": c} for p, c in wanted.items()
        ]
        response = self.sandboxes[who].try_post("/commit_and_log_output", files=listed, message="Change")
        if not changes:
            self.world.problem(response, "validation_failed")
            return multiple()
        sha = self.world.ok(response)["commit_sha"]
        before = dict(self.files[who])
        self.files[who] = {p: c for p, c in (self.files[who] | wanted).items() if c is not None}
        self.history[who].append(sha)
        return who, sha, before, dict(self.files[who])

    @rule(target=commits, commit=commits)
    def roll_back(self, commit: tuple[int, str, Files, Files]) -> Any:
        who, sha, before, after = commit
        now = self.files[who]
        touched = {p for p in PATHS if before.get(p) != after.get(p)}
        response = self.sandboxes[who].try_post("/git/rollback_commit", commit_sha=sha, reason="try")
        if response.status_code == 404:  # the branch was deleted and opened anew since
            assert sha not in self.history[who]
            return multiple()
        plain = {p for p in touched if now.get(p) == after.get(p)}
        done = {p for p in touched if now.get(p) == before.get(p)}
        if (
            plain | done != touched
        ):  # a text merge may or may not work out: believe the server, but only on those files
            if response.status_code == 409:
                return multiple()
            found = self._read(who)
            assert {p: c for p, c in found.items() if p not in touched} == {
                p: c for p, c in now.items() if p not in touched
            }
            self.files[who] = found
        elif not plain:
            self.world.problem(response, "conflict")
            return multiple()
        else:
            self.files[who] = {
                p: c
                for p, c in ((p, before.get(p) if p in plain else now.get(p)) for p in PATHS)
                if c is not None
            }
        new = self.world.ok(response)["new_sha"]
        self.history[who].append(new)
        return who, new, now, dict(self.files[who])

    @rule(target=backups, who=st.integers(0, 1))
    def back_up(self, who: int) -> Any:
        kept = self.sandboxes[who].post("/system/backup", scope="branch")
        return who, kept["backup_id"], dict(self.files[who])

    @rule(backup=backups)
    def restore(self, backup: tuple[int, str, Files]) -> None:
        who, id_, files = backup
        reply = self.sandboxes[who].post(f"/system/backup/{id_}/restore")
        self.files[who] = dict(files)
        if reply["commit_sha"]:
            self.history[who].append(reply["commit_sha"])

    @rule(who=st.integers(0, 1))
    def delete_and_come_back(self, who: int) -> None:
        self.world.ok(self.world.as_owner("DELETE", f"/v1/sandboxes/{self._id(who)}"))
        again = self.world.ok(
            self.world.http.post("/sandbox/init", json={}, headers=self.sandboxes[who].headers)
        )
        assert again["recreated"]
        assert again["branch"] == self.sandboxes[who].branch
        self.files[who] = dict(self.main)
        self.base[who] = dict(self.main)
        self.history[who] = []

    @rule(who=st.integers(0, 1))
    def reset_to_main(self, who: int) -> None:
        reply = self.world.ok(
            self.world.http.post(
                f"/v1/sandboxes/{self._id(who)}/reset",
                json={"to": "main"},
                headers=self.sandboxes[who].headers,
            )
        )
        self.files[who] = dict(self.main)
        if reply["commit_sha"]:
            self.history[who].append(reply["commit_sha"])

    @rule(who=st.integers(0, 1))
    def promote(self, who: int) -> None:
        response = self.sandboxes[who].try_post("/git/promote", title="Land")
        if response.status_code == 409:
            self.world.problem(response, "conflict")
            return
        opened = self.world.ok(response)
        if opened["approval_id"] is None:
            assert not all(c["ok"] for c in opened["checks"])
            return
        said = self.world.as_owner(
            "POST", f"/v1/approvals/{opened['approval_id']}", json={"decision": "approve"}
        )
        assert self.world.ok(said)["state"] == "approved"
        found = self._read(who, "main")
        for path in PATHS:  # main holds for each file what one of the two sides held
            assert found.get(path) in (self.main.get(path), self.files[who].get(path)) or path in found
        self.main = found

    @invariant()
    def files_are_as_the_model_says(self) -> None:
        for who in (0, 1):
            assert self._read(who) == self.files[who]
        assert self._read(0, "main") == self.main

    @invariant()
    def history_never_shrinks(self) -> None:
        for who in (0, 1):
            known = {c["sha"] for c in self.sandboxes[who].post("/git/log", limit=200)["items"]}
            assert set(self.history[who][-150:]) <= known


@pytest.fixture
def world(databases: Databases) -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="bos-model-"))
    with databases.fresh() as database:
        made = World(folder / "home", database)
        WORLD[:] = [made]
        try:
            yield made
        finally:
            made.close()
            shutil.rmtree(folder, ignore_errors=True)


def test_every_story_ends_as_a_plain_model_says(world: World) -> None:
    assert world.app
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Story,
        settings=settings(
            max_examples=400 if LONG else 8, stateful_step_count=40 if LONG else 20, deadline=None,
            suppress_health_check=list(HealthCheck), derandomize=not LONG, database=None,
        ),
    )  # fmt: skip
