"""Races, crashes and clients that go away: nothing acknowledged is lost, nothing unfinished stays."""

import os
import socket
import threading
from base64 import b64encode
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from builderos.assets.repositories import journal
from builderos.assets.repositories.service import RepositoryStore, sweep_quarantine
from builderos.interfaces.git import pushing
from tests.support.gitclients import Clone, address, pkt, run
from tests.support.servers import until
from tests.support.world import make_repository

from .conftest import Live


def quarantines(live: Live) -> list[Path]:
    return list((live.world.home / "repos").glob("*/*/branches/*/*/objects/tmp_objdir-push-*"))


def keeps(live: Live) -> list[Path]:
    return list((live.world.home / "repos").rglob("*.keep"))


def git_processes() -> list[psutil.Process]:
    """Git processes that this process serves clients with."""
    found: list[psutil.Process] = []
    for child in psutil.Process().children(recursive=True):
        try:
            words = child.cmdline()
        except psutil.Error:
            continue
        if {"upload-pack", "index-pack", "pack-objects"} & set(words):
            found.append(child)
    return found


def test_a_push_that_meets_a_commit_of_the_api_is_told_to_fetch_first(
    alone: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API commits after the push was checked and before it is let in."""
    tips: list[str] = []
    seal = pushing.seal

    def late(*args: Any) -> None:
        tips.append(alone.sandbox.commit({"api.txt": "first\n"})["commit_sha"])
        seal(*args)

    mine = alone.clone()
    mine.commit({"push.txt": "second\n"})
    monkeypatch.setattr(pushing, "seal", late)
    ran = mine.push()
    assert not ran.ok
    assert "(fetch first)" in ran.err
    assert alone.tip() == tips[0]
    assert quarantines(alone) == []
    assert keeps(alone) == []
    assert list((alone.store() / "objects/pack").iterdir()) == []
    monkeypatch.undo()
    mine.must("pull", "-q", "--no-rebase", "--no-edit")
    assert mine.push().ok


def test_of_many_who_push_at_once_nobody_loses_anything(alone: Live) -> None:
    failures: list[str] = []

    def work(number: int) -> None:
        mine = alone.clone(f"clone{number}")
        mine.must("config", "pull.rebase", "true")
        for part in range(2):
            mine.commit({f"{number}-{part}.txt": "x\n"})
            for _ in range(60):
                if mine.push().ok:
                    break
                mine.git("pull", "-q", "--rebase", "origin", mine.branch)
            else:
                failures.append(f"{number}-{part} never got through")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    final = alone.clone("final")
    assert len(list(final.folder.glob("*-*.txt"))) == 8
    assert alone.rows("select commits from ops.branches where name = %s", final.branch) == [(8,)]
    assert alone.rows("select count(*) from ops.ledger where type = 'push'") == [(8,)]
    assert run("fsck", "--strict", cwd=alone.store()).ok


def test_a_push_whose_process_dies_after_the_commit_point_is_not_lost(
    alone: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = alone.clone()
    sha = mine.commit({"a.txt": "a\n"})

    def dies(*_args: Any, **_options: Any) -> None:
        raise RuntimeError("killed between the transaction and the ref")

    monkeypatch.setattr(journal, "bring_to", dies)
    assert not mine.push().ok
    store = alone.store()
    assert run("rev-parse", f"refs/heads/{mine.branch}", cwd=store).out.strip() != sha
    assert len(keeps(alone)) == 1, "until the ref arrives, a repack must not drop the pack"
    assert run("repack", "-a", "-d", "-q", cwd=store).ok
    monkeypatch.undo()
    listed = run("ls-remote", address(alone.url, alone.sandbox.token), f"refs/heads/{mine.branch}")
    assert listed.out.split()[0] == sha
    assert alone.clone("again").head == sha
    assert "Everything up-to-date" in mine.push().err
    shelf = alone.world.context.get(RepositoryStore)
    sweep_quarantine(shelf, -1)
    assert keeps(alone) == []
    assert run("fsck", "--strict", cwd=store).ok


def test_a_sweep_removes_old_quarantines_and_no_young_ones(alone: Live) -> None:
    shelf = alone.world.context.get(RepositoryStore)
    old, young = (alone.store() / "objects" / f"tmp_objdir-push-{name}" for name in ("old", "young"))
    for folder in (old, young):
        (folder / "pack").mkdir(parents=True)
        (folder / "pack" / "tmp_pack_x").write_bytes(b"half a pack")
    past = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    os.utime(old, (past, past))
    waiting = alone.store() / "objects/pack/pack-1.keep"
    waiting.write_text(f"push refs/heads/{alone.sandbox.branch} {'1' * 40}\n")
    foreign = alone.store() / "objects/pack/pack-2.keep"
    foreign.write_text("mine\n")
    assert sweep_quarantine(shelf, 3600) == 1
    assert quarantines(alone) == [young]
    sweep_quarantine(shelf, -1)
    assert quarantines(alone) == []
    assert waiting.exists(), "its branch has not arrived at that commit"
    assert foreign.exists()


@contextmanager
def half_said(live: Live, repo: str, service: str, body: bytes, length: int) -> Generator[socket.socket]:
    """A connection whose request promises `length` bytes and sends `body`."""
    host, _, port = live.url.removeprefix("http://").partition(":")
    login = b64encode(f"x:{live.sandbox.token}".encode()).decode()
    head = (
        f"POST /git/{repo}.git/git-{service} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Basic {login}\r\n"
        f"Content-Type: application/x-git-{service}-request\r\nGit-Protocol: version=2\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        connection.sendall(head.encode() + body)
        yield connection


def test_a_client_that_leaves_in_the_middle_of_a_push_leaves_nothing_behind(alone: Live) -> None:
    mine = alone.clone()
    before = mine.head
    sha = mine.commit({"a.txt": "a\n" * 1000})
    pack = mine.pack("HEAD", f"^{before}")
    command = pkt(f"{before} {sha} refs/heads/{mine.branch}\0report-status\n") + b"0000"
    body = command + pack
    with half_said(alone, "lab", "receive-pack", body[:-30], len(body)):
        until(lambda: bool(quarantines(alone)) and bool(git_processes()))
    until(lambda: not quarantines(alone) and not git_processes())
    assert alone.tip() == before
    assert mine.push().ok


def test_a_client_that_leaves_in_the_middle_of_a_clone_ends_its_process(alone: Live) -> None:
    big = Clone(make_repository(alone.desk / "big"), "main")
    big.must("config", "core.compression", "0")
    big.commit({"noise.bin": os.urandom(20_000_000)})
    alone.world.import_repo(big.folder, "noise")
    box = alone.world.open_sandbox("noise")
    tip = alone.tip(box)
    body = pkt("command=fetch") + b"0001" + pkt(f"want {tip}\n") + pkt("done\n") + b"0000"
    alone.sandbox = box
    with half_said(alone, "noise", "upload-pack", body, len(body)) as connection:
        assert b"200" in connection.recv(64)
        until(lambda: bool(git_processes()))
    until(lambda: not git_processes())


def test_fetches_and_commits_beside_each_other_never_move_a_ref_back(alone: Live) -> None:
    stop = threading.Event()
    problems: list[str] = []

    def fetch() -> None:
        while not stop.is_set():
            ran = run("ls-remote", address(alone.url, alone.sandbox.token))
            if not ran.ok:
                problems.append(ran.err)

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        shas = [alone.sandbox.commit({"a.txt": f"{n}\n"})["commit_sha"] for n in range(25)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert run("rev-parse", f"refs/heads/{alone.sandbox.branch}", cwd=alone.store()).out.strip() == shas[-1]


def test_a_full_disk_refuses_the_push_and_keeps_the_branch(
    alone: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = alone.clone()
    before = mine.head
    mine.commit({"a.txt": "a\n"})
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if self.suffix == ".pack":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    ran = mine.push()
    monkeypatch.undo()
    assert not ran.ok
    assert "storage_full" in ran.err
    assert alone.tip() == before
    assert quarantines(alone) == []
    assert mine.push().ok


def test_one_credential_cannot_occupy_the_door(alone: Live) -> None:
    """Two pushes that never end leave room for everybody else, and none for a third of the same token."""
    mine = alone.clone()
    before = mine.head
    sha = mine.commit({"a.txt": "a\n"})
    half = pkt(f"{before} {sha} refs/heads/{mine.branch}\0report-status\n") + b"0000PACK"
    other = alone.world.open_sandbox()
    theirs = alone.clone("theirs", sandbox=other)
    theirs.commit({"b.txt": "b\n"})
    with (
        half_said(alone, "lab", "receive-pack", half, 10**5),
        half_said(alone, "lab", "receive-pack", half, 10**5),
    ):
        until(lambda: len(quarantines(alone)) == 2)
        third = mine.push()
        assert not third.ok
        assert "too many git commands" in third.err
        assert theirs.push().ok
    until(lambda: not quarantines(alone))
    until(lambda: mine.push().ok)
    assert alone.tip() == sha
