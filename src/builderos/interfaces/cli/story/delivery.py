"""Act 1, second half: a crash, the way into main, and the record of it all."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from builderos.client.errors import ClientError

from .building import REPO, Builder, Building
from .stage import Json

BURST_S: Final = 1.5


class Delivery(Building):
    """What happens when the server dies, and how work reaches main."""

    def scenes(self) -> tuple[tuple[str, Callable[[], None]], ...]:
        """The whole act in order."""
        return (
            *super().scenes(),
            ("Killed in the middle of a burst of writes", self.crash),
            ("Into main: pull request, checks, approval", self.promote),
            ("The record", self.ledger),
        )

    def crash(self) -> None:
        """SIGKILL while four writers write; every acknowledged commit is there afterwards."""
        stage = self.stage
        counted = {who.name: len(who.acknowledged) for who in (self.ada, self.bob)}
        writers = [
            threading.Thread(target=self._burst, args=(who, n))
            for who in (self.ada, self.bob)
            for n in range(2)
        ]
        for writer in writers:
            writer.start()
        time.sleep(BURST_S)
        stage.kill()
        for writer in writers:
            writer.join()
        stage.start()
        for who in (self.ada, self.bob):
            made = len(who.acknowledged) - counted[who.name]
            stage.check(made > 0, f"{who.name} had commits acknowledged in the burst", made)
            known = self._history(who)
            lost = [sha for sha in who.acknowledged if sha not in known]
            stage.check(not lost, f"no acknowledged commit of {who.name} is lost", lost)
            stage.say(f"{who.name}: {made} commits acknowledged in the burst, all there", self._tip(who))
        work = stage.folder / "after"
        stage.git("clone", "--quiet", self._git_url(), str(work), token=self.ada.token)
        stage.git("fsck", "--strict", cwd=work)
        stage.say("a fresh clone passes git fsck")

    def _burst(self, who: Builder, lane: int) -> None:
        client = self.client(who)
        for n in range(10_000):
            try:
                self.commit(who, {f"burst/{lane}_{n % 40}.txt": f"{n}\n"}, f"Burst {lane}.{n}", client)
            except ClientError:
                return  # the server is dead: what follows was not acknowledged

    def _history(self, who: Builder) -> set[str]:
        client, known, cursor = self.client(who), set[str](), None
        while True:
            body = {"repo_name": REPO, "branch": who.branch, "limit": 200, "cursor": cursor}
            page = client.call("POST", "/git/log", body)
            known |= {item["sha"] for item in page["items"]}
            cursor = page["next_cursor"]
            if cursor is None:
                return known

    def _tip(self, who: Builder) -> str:
        body = {"repo_name": REPO, "branch": who.branch, "limit": 1}
        return str(self.client(who).call("POST", "/git/log", body)["items"][0]["sha"])

    def promote(self) -> None:
        """First Ada, then Bob, who changed the same files."""
        stage = self.stage
        self._land(self.ada, "Ada's weather bot")
        first = self._promotion(self.bob, "Bob's weather bot")
        broken = [c["name"] for c in first["checks"] if not c["ok"]]
        stage.check(
            broken == ["merges_cleanly"],
            "Bob's promotion says that main changed the same lines",
            first["checks"],
        )
        stage.say("Bob's promotion waits: main has changed the same files")
        where = f"/v1/sandboxes/{self.bob.sandbox_id}/update"
        settled = self._settle(where)
        stage.say(f"Bob brought main's news into the own branch and settled {settled} conflicts")
        self._land(self.bob, "Bob's weather bot")
        on_main = self._main_entries()
        for who in (self.ada, self.bob):
            missing = [e for e in who.entries if on_main.count(e) != 1]
            stage.check(not missing, f"every changelog entry of {who.name} is on main exactly once", missing)
        stage.say(f"main's changelog has all {len(on_main)} entries, none lost, none twice")

    def _settle(self, where: str) -> int:
        try:
            self.client(self.bob).call("POST", where, {})
        except ClientError as error:
            conflicts = error.problem["conflicts"]
        else:
            return 0
        mine = self.read(self.bob, [c["path"] for c in conflicts][:50])
        chosen = [{"path": path, "content": content} for path, content in mine.items()]
        self.client(self.bob).call("POST", where, {"resolutions": chosen})
        return len(chosen)

    def _promotion(self, who: Builder, name: str) -> Json:
        body = {"repo_name": REPO, "branch": who.branch, "target": "main", "mode": "pr", "title": name}
        return self.client(who).call("POST", "/git/promote", body)

    def _land(self, who: Builder, name: str) -> None:
        stage = self.stage
        opened = self._promotion(who, name)
        stage.check(all(c["ok"] for c in opened["checks"]), "all checks are green", opened["checks"])
        stage.say(f"{who.name}'s pull request is open, {len(opened['checks'])} checks green")
        approval = f"/v1/approvals/{opened['approval_id']}"
        stage.refused(
            "policy_denied",
            "approving one's own promotion",
            self.client(who),
            approval,
            {"decision": "approve"},
        )
        seen = stage.owner().call("GET", approval)
        decided = stage.owner().call(
            "POST", approval, {"decision": "approve", "comment": "looks good", "diff_hash": seen["diff_hash"]}
        )
        stage.check(decided["state"] == "approved", "the owner's yes counts", decided)
        pull = stage.owner().call("GET", f"/v1/pulls/{opened['promotion_id']}")
        stage.check(pull["state"] == "merged", "the promotion is merged", pull["state"])
        stage.say(f"approved by the owner and merged: {name}", pull["merge_sha"])

    def _main_entries(self) -> list[str]:
        work = self.stage.folder / "main"
        token = (self.stage.home / "owner.token").read_text().strip()
        self.stage.git("clone", "--quiet", "--branch", "main", self._git_url(), str(work), token=token)
        blocks = [
            *sorted((work / "project" / "changelog").glob("*.yaml")),
            work / "project" / "changelog.yaml",
        ]
        lines = (line for block in blocks if block.exists() for line in block.read_text().splitlines())
        return [json.loads(line[2:])["id"] for line in lines if line.startswith("- {")]

    def ledger(self) -> None:
        """The chain verifies; one changed byte in a copy is found and named."""
        stage = self.stage
        verdict = stage.owner().call("GET", "/v1/audit/verify")
        stage.check(verdict["ok"], "the ledger verifies, and no commit is without a line", verdict)
        stage.say(f"{verdict['lines']} lines verify, no commit is without one", verdict["head"]["hash"])
        copy = stage.folder / "audit.jsonl"
        with copy.open("wb") as out:
            stage.owner().save("GET", "/v1/audit/export", {"format": "jsonl"}, out)
        stage.check(_verify_offline(copy)["ok"], "the exported copy verifies without the server")
        row = verdict["lines"] // 2
        _change_one_byte(copy, row)
        spoiled = _verify_offline(copy)
        stage.check(
            not spoiled["ok"] and spoiled["first_bad"] == row,
            f"the changed byte in line {row} is found",
            spoiled,
        )
        stage.say(f"one byte changed in a copy: verification names line {row}")


def _verify_offline(copy: Path) -> Json:
    """What `builderos audit verify --file` says; it needs no server."""
    argv = [
        sys.executable,
        "-m",
        "builderos.interfaces.cli.main",
        "--json",
        "audit",
        "verify",
        "--file",
        str(copy),
    ]
    return json.loads(subprocess.run(argv, capture_output=True, check=False).stdout)


def _change_one_byte(copy: Path, row: int) -> None:
    lines = copy.read_bytes().splitlines(keepends=True)
    line = lines[row - 1]
    at = line.index(b'\\"type\\":') + 12
    lines[row - 1] = line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]
    copy.write_bytes(b"".join(lines))
