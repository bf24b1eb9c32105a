"""Act 1, first half: two strangers build in one real repository, and nothing they or their AIs do can hurt it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from builderos.client.http import Client

from .stage import Act, Json, Stage

REPO: Final = "demo"
FILES: Final = 25


@dataclass
class Builder:
    """One anonymous user: a token and what the server has acknowledged."""

    name: str
    token: str
    branch: str
    sandbox_id: str = ""
    acknowledged: list[str] = field(default_factory=list[str])
    entries: list[str] = field(default_factory=list[str])


class Building(Act):
    """The act, in the order it is told."""

    def __init__(self, stage: Stage, source: str) -> None:
        self.stage = stage
        self.source = source
        self.ada = Builder("Ada", "", "")
        self.bob = Builder("Bob", "", "")

    def scenes(self) -> tuple[tuple[str, Callable[[], None]], ...]:
        """Titles and scenes in order."""
        return (
            ("A real repository, two strangers", self.open),
            ("Both build, neither sees the other", self.build),
            ("Back from another computer, with nothing but the token", self.resume),
            ("With a real git client", self.use_git),
            ("What is refused", self.refusals),
            ("Undo, and undo the undo", self.undo),
            ("Backup, deleted branch, restore", self.backup),
        )

    def client(self, who: Builder) -> Client:
        """A fresh client of one builder."""
        return self.stage.client(who.token)

    def commit(self, who: Builder, files: dict[str, str], message: str, client: Client | None = None) -> Json:
        """Commit files and keep what was acknowledged."""
        listed = [{"path": path, "content": content} for path, content in files.items()]
        body = {"repo_name": REPO, "branch": who.branch, "files": listed, "message": message}
        reply = (client or self.client(who)).call("POST", "/commit_and_log_output", body)
        who.acknowledged.append(reply["commit_sha"])
        who.entries.append(reply["changelog_entry"]["id"])
        return reply

    def read(self, who: Builder, paths: list[str], branch: str | None = None) -> dict[str, str]:
        """Contents of files, by path."""
        body = {"repo_name": REPO, "branch": branch or who.branch, "mode": "batch", "paths": paths}
        return {
            f["path"]: f["content"]
            for f in self.client(who).call("POST", "/system/fetch_files", body)["files"]
        }

    def open(self) -> None:
        """Import, then two anonymous sandboxes."""
        stage = self.stage
        stage.start()
        stage.say(f"a server answers at {stage.url}")
        repo = stage.owner().call("POST", "/v1/repos/import", {"source": self.source, "name": REPO})
        stage.say(f"imported {self.source}", repo["head_sha"])
        for who in (self.ada, self.bob):
            reply = stage.client().call("POST", "/sandbox/init", {"mode": "branch", "repo_name": REPO})
            who.token, who.branch = reply["reuse_token"], reply["branch"]
            stage.check(
                reply["created"] and reply["token_status"] == "new",
                "an anonymous user gets a new branch",
                reply,
            )
            stage.say(f"{who.name} has a workspace: {who.branch}")
        stage.check(self.ada.branch != self.bob.branch, "two users have two branches")
        listed = stage.owner().call("GET", "/v1/sandboxes", {"repo_name": REPO})["items"]
        ids = {item["branch"]: item["id"] for item in listed}
        self.ada.sandbox_id, self.bob.sandbox_id = ids[self.ada.branch], ids[self.bob.branch]

    def build(self) -> None:
        """Ada scaffolds and writes many files while Bob writes the same ones."""
        stage = self.stage
        body = {"mode": "project", "repo_name": REPO, "branch": self.ada.branch, "project_name": "Weather bot",
                "project_description": "Tells the weather", "goals": ["answer in one sentence"]}  # fmt: skip
        made = self.client(self.ada).call("POST", "/sandbox/init", body)
        stage.check("project/task.yaml" in made["created"], "the scaffold writes project/task.yaml", made)
        self.ada.acknowledged.append(made["commit_sha"])
        stage.say(f"Ada scaffolded a project: {len(made['created'])} files", made["commit_sha"])
        paths = [f"bot/part_{n:02}.py" for n in range(FILES)]
        threads = [
            threading.Thread(target=self._write_all, args=(who, paths)) for who in (self.ada, self.bob)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for who in (self.ada, self.bob):
            found = self.read(who, paths)
            stage.check(
                found == {p: f"# {who.name}: {p}\n" for p in paths},
                f"{who.name} reads back the own {FILES} files",
            )
            stage.say(f"{who.name} wrote {FILES} files, the same names as the other", who.acknowledged[-1])

    def _write_all(self, who: Builder, paths: list[str]) -> None:
        client = self.client(who)
        for start in range(0, len(paths), 5):
            part = {path: f"# {who.name}: {path}\n" for path in paths[start : start + 5]}
            self.commit(who, part, f"Write parts {start} to {start + 4}", client)

    def resume(self) -> None:
        """Only the token leads back."""
        reply = self.stage.client(self.ada.token).call("POST", "/sandbox/init", {})
        self.stage.check(
            reply["branch"] == self.ada.branch and not reply["created"],
            "the token opens the same branch",
            reply,
        )
        self.stage.check(reply["token_status"] == "valid", "the token is valid", reply)
        self.stage.say(f"Ada is back in {reply['branch']}")

    def use_git(self) -> None:
        """Clone, commit, push twice, and see the push in the workspace."""
        stage, work = self.stage, self.stage.folder / "clone"
        stage.git("clone", "--quiet", self._git_url(), str(work), token=self.ada.token)
        stage.check(
            stage.git("rev-parse", "HEAD", cwd=work) == self.ada.acknowledged[-1],
            "the clone is at Ada's last commit",
        )
        for n in (1, 2):
            (work / f"from_git_{n}.txt").write_text(f"pushed {n}\n")
            stage.git("add", "-A", cwd=work)
            stage.git("commit", "--quiet", "-m", f"Write with git, {n}", cwd=work)
            stage.git("push", "--quiet", "origin", "HEAD", cwd=work, token=self.ada.token)
            self.ada.acknowledged.append(stage.git("rev-parse", "HEAD", cwd=work))
        stage.say("cloned, committed and pushed twice without a pull", self.ada.acknowledged[-1])
        found = self.read(self.ada, ["from_git_1.txt", "from_git_2.txt"])
        stage.check(len(found) == 2, "both pushed files are in the workspace", found)

    def _git_url(self) -> str:
        return f"{self.stage.url}/git/{REPO}.git"

    def refusals(self) -> None:
        """Everything a wrong or hostile caller would try first."""
        stage, mine = (
            self.stage,
            {"repo_name": REPO, "files": [{"path": "x.txt", "content": "x"}], "message": "try"},
        )
        wrong = stage.client("bos_rt_" + "A" * 43)
        stage.refused("token_invalid", "a wrong token", wrong, "/commit_and_log_output", mine)
        bob = self.client(self.bob)
        path = "/commit_and_log_output"
        stage.refused(
            "forbidden_branch", "writing Ada's branch as Bob", bob, path, mine | {"branch": self.ada.branch}
        )
        stage.refused("protected_branch", "writing main", bob, path, mine | {"branch": "main"})
        reading = {"repo_name": REPO, "branch": self.ada.branch, "path": "bot/part_00.py"}
        stage.refused("forbidden_branch", "reading Ada's branch as Bob", bob, "/system/fetch_files", reading)
        stage.say("a wrong token, the other's branch (reading and writing), main")
        work = self.stage.folder / "clone"
        pushes = {
            "main": ("HEAD:refs/heads/main", self.ada.token),
            "Ada's branch with Bob's token": (f"HEAD:refs/heads/{self.ada.branch}", self.bob.token),
        }
        for what, (spec, token) in pushes.items():
            said = stage.git("push", "origin", spec, cwd=work, token=token, may_fail=True)
            stage.check(not said.startswith("exit 0"), f"pushing to {what} is refused", said)
        stage.git("reset", "--quiet", "--hard", "HEAD~1", cwd=work)
        (work / "rewritten.txt").write_text("history\n")
        stage.git("add", "-A", cwd=work)
        stage.git("commit", "--quiet", "-m", "Rewrite", cwd=work)
        said = stage.git(
            "push",
            "--force",
            "origin",
            f"HEAD:{self.ada.branch}",
            cwd=work,
            token=self.ada.token,
            may_fail=True,
        )
        stage.check(not said.startswith("exit 0"), "a force-push is refused", said)
        stage.say("git pushes to main, to the other's branch, and with force")

    def undo(self) -> None:
        """Diff, rollback, rollback of the rollback."""
        stage, path = self.stage, "bot/part_00.py"
        before = self.read(self.ada, [path])[path]
        bad = self.commit(self.ada, {path: "oops\n"}, "A mistake")["commit_sha"]
        where = {"repo_name": REPO, "branch": self.ada.branch}
        diff = self.client(self.ada).call(
            "POST", "/git/diff", where | {"from": self.ada.acknowledged[-2], "to": bad}
        )
        stage.check(
            "+oops" in diff["diff"] and len(diff["changelog_delta"]) >= 1,
            "the diff shows the mistake",
            diff["diff"][:300],
        )
        stage.say("the diff shows the mistake and its changelog entry", bad)
        first = self._rollback(bad, "it was a mistake")
        stage.check(self.read(self.ada, [path])[path] == before, "the file is as before the mistake")
        stage.say("rolled back", first)
        second = self._rollback(first, "it was right after all")
        stage.check(self.read(self.ada, [path])[path] == "oops\n", "the rollback itself is undone")
        stage.say("rolled the rollback back", second)

    def _rollback(self, sha: str, reason: str) -> str:
        body = {"repo_name": REPO, "branch": self.ada.branch, "commit_sha": sha, "reason": reason}
        new = self.client(self.ada).call("POST", "/git/rollback_commit", body)["new_sha"]
        self.ada.acknowledged.append(new)
        return new

    def backup(self) -> None:
        """A backup outlives the branch."""
        stage, path = self.stage, "bot/part_01.py"
        where = {"repo_name": REPO, "branch": self.bob.branch}
        kept = self.client(self.bob).call("POST", "/system/backup", where | {"scope": "branch"})
        stage.say(f"Bob's backup keeps {kept['file_count']} files", kept["commit_sha"])
        stage.owner().call("DELETE", f"/v1/sandboxes/{self.bob.sandbox_id}")
        stage.say(f"the branch {self.bob.branch} is deleted")
        again = self.client(self.bob).call("POST", "/sandbox/init", {})
        stage.check(
            again["recreated"] and again["branch"] == self.bob.branch,
            "the token opens it anew under its name",
            again,
        )
        stage.check(
            kept["backup_id"] in again["restore_from"], "the backup is offered", again["restore_from"]
        )
        back = self.client(self.bob).call("POST", f"/system/backup/{kept['backup_id']}/restore", where)
        stage.check(self.read(self.bob, [path]) == {path: f"# Bob: {path}\n"}, "Bob's files are back")
        self.bob.acknowledged = [back["commit_sha"]]
        stage.say(f"restored {back['restored_files']} files", back["commit_sha"])
