"""Commands that mean harm: each is ended with its reason, and nothing of it stays behind."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from builderos.execution.compute.schema import MIB
from builderos.execution.compute.service import Beneath
from builderos.integrations.bwrap import tree
from tests.support.sandboxes import QUICK, Yard, until, yard_in_temp

MARK = "bos-hostile-mark"


@pytest.fixture(scope="module", params=["strong", "weak"])
def yard(request: pytest.FixtureRequest) -> Iterator[Yard]:
    with yard_in_temp(request.param) as made:
        yield made.needed()


def marked(mark: str) -> list[int]:
    """Processes of this machine that carry `mark` in their command line."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def program(body: str, mark: str) -> tuple[str, ...]:
    """A Python program that can be found by `mark`."""
    return ("python3", "-c", f"import os, sys, time, signal\n{body}", mark)


def test_a_fork_bomb_ends_with_its_time_and_leaves_nothing(yard: Yard) -> None:
    mark = f"{MARK}-bomb-{yard.tier}"
    bomb = program("while True:\n    try: os.fork()\n    except OSError: time.sleep(0.01)", mark)
    done = yard.run(*bomb, limits=dataclasses.replace(QUICK, wall_s=1, grace_s=0.1, pids=60))
    assert done.result is not None
    assert done.result.reason == "timeout"
    until(lambda: not marked(mark))  # a process that was killed takes a moment to go


def test_folders_without_end_count_as_a_full_disk(yard: Yard) -> None:
    deep = "for n in range(3000):\n    os.mkdir('d')\n    os.chdir('d')"
    done = yard.run(*program(deep, "x"))
    assert done.result is not None
    assert (done.result.reason, done.result.detail) == ("disk", "folders are nested more than 256 deep")
    again = yard.run(*program("print('goes on')", "x"))
    assert yard.text(again) == "goes on\n"


def test_a_fork_bomb_cannot_have_more_than_its_share(yard: Yard) -> None:
    count = (
        "n = 0\ntry:\n    while True:\n        if os.fork() == 0: time.sleep(30)\n        n += 1\n"
        "except OSError: print(n)"
    )
    done = yard.run(*program(count, "x"), limits=dataclasses.replace(QUICK, pids=40))
    assert done.state == "success"
    assert 5 < int(yard.text(done)) < 60


def test_who_ignores_the_polite_signal_is_killed(yard: Yard) -> None:
    mark = f"{MARK}-deaf-{yard.tier}"
    deaf = "for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)"
    sandbox = yard.provider.start(yard.spec(*program(deaf, mark)))
    yard.until_printed(sandbox, "up")
    yard.provider.kill(sandbox.id, 0.1)
    done = yard.provider.wait(sandbox.id, 120)
    assert done.result is not None
    assert done.result.reason == "killed"
    assert not marked(mark)


def test_a_daemon_that_forked_twice_goes_with_its_command(yard: Yard) -> None:
    mark = f"{MARK}-daemon-{yard.tier}"
    daemon = (
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        open('up', 'w').close()\n"
        "        time.sleep(600)\n"
        "    os._exit(0)\nos.wait()\nwhile not os.path.exists('up'): time.sleep(0.01)"
    )
    done = yard.run(*program(daemon, mark))
    assert done.state == "success"
    assert not marked(mark)


def test_a_daemon_that_holds_the_output_open_delays_nobody(yard: Yard) -> None:
    done = yard.sh("(setsid sh -c 'sleep 600' &) ; echo done")
    assert yard.text(done) == "done\n"
    assert done.state == "success", "it was not ended by its time"


def test_a_memory_hog_runs_out_of_memory(yard: Yard) -> None:
    hog = program("keep = []\nwhile True: keep.append(bytearray(1 << 20))", "x")
    done = yard.run(*hog, limits=dataclasses.replace(QUICK, memory=96 * MIB))
    assert done.result is not None
    assert (done.result.reason, done.state) == ("oom", "failed")
    assert done.result.use.max_rss <= 100 * MIB


def test_a_memory_hog_of_many_processes_runs_out_of_memory(yard: Yard) -> None:
    hog = program(
        "for _ in range(8):\n    if os.fork() == 0: x = bytearray(30 << 20); time.sleep(60)\nos.wait()", "x"
    )
    done = yard.run(*hog, limits=dataclasses.replace(QUICK, memory=96 * MIB))
    assert done.result is not None
    assert done.result.reason == "oom"


def test_a_hog_that_hides_from_the_kernels_killer_is_ended_all_the_same(yard: Yard) -> None:
    hiding = (
        "try: open('/proc/self/oom_score_adj', 'w').write('-1000')\nexcept OSError: pass\n"
        "keep = []\nwhile True: keep.append(bytearray(1 << 20))"
    )
    done = yard.run(*program(hiding, "x"), limits=dataclasses.replace(QUICK, memory=96 * MIB))
    assert done.result is not None
    assert done.result.reason == "oom"


def test_memory_that_looks_like_files_counts_too(yard: Yard) -> None:
    script = "dd if=/dev/zero of=$TMPDIR/a bs=1M count=300; dd if=/dev/zero of=$HOME/b bs=1M count=300"
    limits = dataclasses.replace(QUICK, scratch=32 * MIB, disk=64 * MIB)
    done = yard.sh(script, limits=limits)
    if yard.tier == "strong":
        assert "No space left" in yard.text(done)
        return
    assert done.result is not None
    assert done.result.reason == "disk" or "File too large" in yard.text(done)


@pytest.mark.parametrize(
    "filler",
    [
        "n = 0\nwhile True:\n    n += 1\n    open(f'f{n}', 'wb').write(bytes(1 << 20))",
        "n = 0\nwhile True:\n    n += 1\n    open(f'f{n}', 'wb').close()",
        "n = 0\nwhile True:\n    n += 1\n    os.makedirs(f'd{n // 100}/e{n}')",
    ],
    ids=["large files", "empty files", "folders"],
)
def test_a_disk_filler_is_ended(yard: Yard, filler: str) -> None:
    workspace = yard.workspace()
    limits = dataclasses.replace(QUICK, disk=4 * MIB)
    done = yard.run(*program(filler, "x"), workspace=workspace, limits=limits)
    assert done.result is not None
    assert (done.result.reason, done.state) == ("disk", "failed")


def test_one_huge_file_is_stopped_by_the_kernel(yard: Yard) -> None:
    workspace = yard.workspace()
    script = "truncate -s 1T sparse; dd if=/dev/zero of=big bs=1M count=400"
    done = yard.sh(script, workspace=workspace, limits=dataclasses.replace(QUICK, disk=32 * MIB))
    assert done.state == "failed"
    assert (workspace / "big").stat().st_size <= 32 * MIB


def test_a_file_past_the_limit_is_told_as_a_full_disk(yard: Yard) -> None:
    limits = dataclasses.replace(QUICK, disk=32 * MIB)
    for script in ("exec truncate -s 100T sparse", "truncate -s 100T sparse"):
        done = yard.sh(script, limits=limits)
        assert done.result is not None
        assert (done.result.reason, done.result.exit_code, done.state) == ("disk", 153, "failed")
        assert done.result.detail == f"a file would have grown past {32 * MIB} bytes"


def test_output_beyond_measure_fills_neither_disk_nor_memory_and_holds_nobody_up(yard: Yard) -> None:
    much = 20 * MIB
    done = yard.sh(f"yes | head -c {much}", limits=dataclasses.replace(QUICK, output=MIB))
    assert done.result is not None
    assert (done.state, done.result.truncated, done.result.use.output) == ("success", True, much)
    log = (yard.folder / "state" / done.id / "log").stat().st_size
    assert MIB < log < MIB + 100


def test_a_link_that_is_swapped_while_it_is_read_shows_nothing_of_the_machine(
    yard: Yard, tmp_path: Path
) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_text("canary")
    workspace = yard.workspace()
    swap = (
        f"os.makedirs('real'); open('real/file', 'w').write('mine'); os.symlink({str(tmp_path / 'secret')!r}, 'link')\n"
        "print('up', flush=True)\n"
        "while True:\n"
        "    for name in ('real', 'link'):\n        os.rename(name, 'dir'); os.rename('dir', name)"
    )
    sandbox = yard.provider.start(yard.spec(*program(swap, "x"), workspace=workspace))
    yard.until_printed(sandbox, "up")
    seen: set[bytes] = set()
    refused = 0
    with Beneath(workspace) as reader:
        for _ in range(4000):
            try:
                seen.add(reader.read("dir/file", 100))
            except OSError:
                refused += 1
        targets = {entry.path for entry in reader.walk()}
    yard.provider.kill(sandbox.id, 0)
    yard.provider.wait(sandbox.id, 120)
    assert seen <= {b"mine"}
    assert refused
    assert not any("secret" in path for path in targets)


def test_a_workspace_that_is_itself_a_link_is_refused(yard: Yard, tmp_path: Path) -> None:
    from builderos.core.problems import Problem

    link = yard.folder / f"link-{yard.tier}"
    link.symlink_to(tmp_path)
    with pytest.raises(Problem):
        yard.run("true", workspace=link)


@pytest.mark.parametrize("victim", ["server", "keeper"])
def test_nothing_outlives_a_server_or_keeper_that_is_killed(yard: Yard, tmp_path: Path, victim: str) -> None:
    mark = f"{MARK}-orphan-{victim}-{yard.tier}"
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from builderos.execution.compute.schema import Spec\n"
        "from builderos.integrations.bwrap.service import LocalSandboxes\n"
        "state, place, mark, tier = sys.argv[1:]\n"
        "provider = LocalSandboxes(Path(state), tier=tier)\n"
        "daemon = 'import os, time\\nif os.fork() == 0: os.setsid()\\nprint(1, flush=True)\\ntime.sleep(600)'\n"
        "provider.start(Spec('run.node.1', ('python3', '-c', daemon, mark), place, tier=tier))\n"
        "print(provider._keeper.process.pid, flush=True)\n"
        "provider.wait('run.node.1')\n"
        "print(provider.poll('run.node.1').result.reason, flush=True)\n"
    )
    place = tmp_path / "place"
    place.mkdir()
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    argv = [sys.executable, "-c", code, str(tmp_path / "state"), str(place), mark, yard.tier]
    server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    keeper = int(server.stdout.readline())
    until(lambda: len([pid for pid in marked(mark) if pid != server.pid]) >= 2)
    os.kill(server.pid if victim == "server" else keeper, signal.SIGKILL)
    until(lambda: not [pid for pid in marked(mark) if pid != server.pid])
    until(lambda: not tree.started_at(keeper))
    if victim == "keeper":
        assert server.stdout.readline() == "lost\n"
    server.communicate()
    again = Yard(tmp_path, yard.tier)
    found = again.provider.attach("run.node.1")
    assert found.result is not None
    assert (found.result.reason, found.state) == ("lost", "failed")
    assert again.provider.start(again.spec("true", id="run.node.2", workspace=place)).id == "run.node.2"
    again.provider.close()


def test_another_process_of_the_server_sees_it_waits_for_it_and_ends_it(yard: Yard) -> None:
    sandbox = yard.provider.start(yard.spec("sleep", "600"))
    other = Yard(yard.folder, yard.tier).provider
    assert other.attach(sandbox.id).state == "running"
    assert other.wait(sandbox.id, 0.05).result is None
    told = threading.Event()
    other.when_ended(sandbox.id, lambda _: told.set())
    other.kill(sandbox.id)
    found = other.wait(sandbox.id, 120)
    assert found.result is not None
    assert found.result.reason == "killed"
    assert told.wait(120)


def test_a_keeper_that_died_is_replaced_by_the_next_start(yard: Yard) -> None:
    keeper = yard.provider._keeper
    assert keeper is not None
    keeper.process.kill()
    until(lambda: keeper.gone)
    assert yard.run("true").state == "success"
