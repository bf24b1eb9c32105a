"""What every provider of sandboxes keeps, whatever it is built on."""

import asyncio
import dataclasses
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from builderos.core.problems import Problem
from builderos.execution.compute.ports import SandboxProvider
from builderos.execution.compute.schema import Limits, Mount, Sandbox, Secret
from builderos.execution.compute.service import finished, run
from tests.support.sandboxes import QUICK, Yard, cluster_yard, docker_yard, until, vercel_yard, yard_in_temp

REMOTE = {"docker": docker_yard, "kubernetes": cluster_yard, "vercel": vercel_yard}


@pytest.fixture(scope="module", params=["strong", "weak", *REMOTE])
def yard(request: pytest.FixtureRequest) -> Iterator[Yard]:
    with REMOTE[request.param]() if request.param in REMOTE else yard_in_temp(request.param) as made:
        yield made.needed()


def test_a_provider_says_what_it_can_do(yard: Yard) -> None:
    provider: SandboxProvider = yard.provider
    probe = provider.probe()
    assert (probe.provider, probe.tier) == (provider.name, yard.tier)
    assert bool(probe.gaps) is (yard.tier == "weak"), "only the strong tier has no known gaps"
    assert probe.digest.startswith("sha256:") is not provider.remote, "elsewhere the image is what counts"
    assert probe.digest == provider.probe().digest


def test_the_exit_code_is_the_commands_own(yard: Yard) -> None:
    done = yard.sh("echo out; echo err >&2; exit 7")
    assert (done.state, done.result and done.result.reason, done.result and done.result.exit_code) == (
        "failed", "exit", 7,
    )  # fmt: skip
    assert yard.text(done) == "out\nerr\n"
    good = yard.run("true")
    assert (good.state, good.result and good.result.exit_code, good.tier) == ("success", 0, yard.tier)


def test_a_command_that_kills_itself_exits_as_a_shell_says(yard: Yard) -> None:
    done = yard.sh("kill -KILL $$")
    assert done.result is not None
    assert (done.result.reason, done.result.exit_code, done.state) == ("exit", 137, "failed")


def test_a_command_that_is_not_there_fails(yard: Yard) -> None:
    done = yard.run("no-such-program-anywhere")
    assert done.state == "failed"
    assert done.result is not None
    assert done.result.exit_code != 0


def test_a_command_reads_and_writes_its_workspace(yard: Yard) -> None:
    workspace = yard.workspace()
    (workspace / "deep").mkdir()
    (workspace / "deep" / "in.txt").write_text("given")
    done = yard.sh("cat in.txt > out.txt; pwd", workspace=workspace, cwd="deep")
    assert (workspace / "deep" / "out.txt").read_text() == "given"
    assert yard.text(done).rstrip().endswith("/deep")


def test_a_read_only_workspace_stays_as_it_is(yard: Yard) -> None:
    workspace = yard.workspace()
    (workspace / "in.txt").write_text("given")
    done = yard.sh("cat in.txt; echo x > in.txt || touch new || exit 3", workspace=workspace, writable=False)
    assert done.result is not None
    assert done.result.exit_code == 3
    assert yard.text(done).startswith("given")
    assert sorted(os.listdir(workspace)) == ["in.txt"]
    assert (workspace / "in.txt").read_text() == "given"


def test_nothing_of_the_servers_environment_is_inherited(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDEROS_SECRET_KEY", "canary-of-the-server")
    done = yard.run("env", env=(("GIVEN", "a b\n$c"),))
    text = yard.text(done)
    assert "canary" not in text
    names = {line.split("=")[0] for line in text.splitlines() if "=" in line}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "HOME", "LANG", "TMPDIR", "WORKSPACE", "GIVEN"}
    assert "GIVEN=a b\n$c\n" in text


def test_home_and_scratch_are_the_commands_own_and_empty(yard: Yard) -> None:
    script = 'ls -A "$HOME" | grep -v -x -e tmp -e secrets; ls -A "$TMPDIR"; touch "$HOME/a" "$TMPDIR/b" && echo ok'
    assert yard.text(yard.sh(script)) == "ok\n"
    assert yard.text(yard.sh(script)) == "ok\n", "and nothing is left for the next one"


def test_secrets_arrive_as_variables_and_as_files(yard: Yard) -> None:
    secrets = (Secret("TOKEN", "s3cret-in-env"), Secret("KEY_FILE", "s3cret\nin file", as_file=True))
    done = yard.sh('printf "%s|" "$TOKEN"; cat "$KEY_FILE"', secrets=secrets)
    assert yard.text(done) == "s3cret-in-env|s3cret\nin file"
    for path in yard.folder.glob(f"state/{done.id}/*"):
        if path.name != "log":
            assert b"s3cret" not in path.read_bytes(), f"a secret stands in {path.name}"
    assert "s3cret" not in repr(secrets)


def test_secrets_stand_in_no_command_line_of_this_machine(yard: Yard) -> None:
    spec = yard.spec("sleep", "30", secrets=(Secret("TOKEN", "canary-in-no-cmdline"),))
    sandbox = yard.provider.start(spec)
    until(lambda: any("sleep\0" in line for line in _command_lines()))
    assert not [line for line in _command_lines() if "canary-in-no-cmdline" in line]
    yard.provider.kill(sandbox.id, 0)
    yard.provider.wait(sandbox.id, 120)


def _command_lines() -> list[str]:
    lines: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_text("utf-8", "replace"))
        except OSError:
            continue  # it ended meanwhile
    return lines


@pytest.fixture
def tools() -> Iterator[Path]:
    """A folder that every account can look into."""
    with tempfile.TemporaryDirectory(prefix="bos-tools-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_mounts_are_read_only(yard: Yard, tools: Path) -> None:
    (tools / "tool").write_text("a tool")
    if yard.provider.remote:
        with pytest.raises(Problem, match="cannot show folders of this machine"):
            yard.sh("true", mounts=(Mount(str(tools), "/opt/tools"),))
        return
    mount = Mount(str(tools), str(tools) if yard.tier == "weak" else "/opt/tools")
    done = yard.sh(f"cat {mount.target}/tool; echo x > {mount.target}/tool || exit 3", mounts=(mount,))
    assert done.result is not None
    assert (yard.text(done)[:6], done.result.exit_code) == ("a tool", 3)
    assert (tools / "tool").read_text() == "a tool"


def test_time_is_up_for_the_whole_tree(yard: Yard) -> None:
    done = yard.sh("sleep 300 & sleep 300", limits=dataclasses.replace(QUICK, wall_s=0.3))
    assert (done.state, done.result and done.result.reason) == ("timeout", "timeout")
    assert done.result is not None
    assert 0.2 < done.result.use.wall_s < 10


def test_a_command_that_listens_may_say_goodbye(yard: Yard) -> None:
    script = "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.05; done"
    sandbox = yard.provider.start(
        yard.spec("sh", "-c", script, limits=dataclasses.replace(QUICK, grace_s=15))
    )
    yard.until_printed(sandbox, "up")
    yard.provider.kill(sandbox.id)
    done = yard.provider.wait(sandbox.id, 120)
    assert done.result is not None
    assert (done.result.reason, done.result.exit_code, done.state) == ("killed", 5, "failed")
    assert "bye" in yard.text(done)
    yard.provider.kill(sandbox.id)  # twice does no harm


def test_the_log_is_read_by_offset_while_it_grows(yard: Yard) -> None:
    script = "trap 'echo second; exit' TERM; echo first; while :; do sleep 0.02; done"
    limits = dataclasses.replace(QUICK, grace_s=15)
    sandbox = yard.provider.start(yard.spec("sh", "-c", script, limits=limits))
    yard.until_printed(sandbox, "first\n")
    first = yard.provider.logs(sandbox.id, 0, 3)
    assert (first.data, first.next_offset, first.ended) == (b"fir", 3, False)
    yard.provider.kill(sandbox.id)
    yard.provider.wait(sandbox.id, 120)
    rest = yard.provider.logs(sandbox.id, first.next_offset)
    assert (rest.data[:3], rest.data[-8:], rest.ended) == (b"st\n", b"\nsecond\n", True)
    assert yard.provider.logs(sandbox.id, 10_000).data == b""


def test_bytes_that_are_no_text_are_kept_as_they_are(yard: Yard) -> None:
    done = yard.run("python3", "-c", "import os; os.write(1, bytes(range(256)) + b'\\x1b[31m\\r\\n\\0')")
    printed = bytes(range(256)) + b"\x1b[31m\r\n\0"
    if yard.provider.name == "vercel":  # whose API has logs as text
        printed = printed.decode("utf-8", "replace").encode()
    assert yard.provider.logs(done.id).data == printed


def test_more_output_than_allowed_is_counted_and_marked(yard: Yard) -> None:
    done = yard.sh("yes 0123456789abcde | head -c 3000000", limits=dataclasses.replace(QUICK, output=1000))
    assert done.result is not None
    assert (done.state, done.result.truncated, done.result.use.output) == ("success", True, 3_000_000)
    log = yard.provider.logs(done.id, 0, 1 << 20).data
    assert log[:1000] == b"0123456789abcde\n" * 62 + b"01234567"
    assert log[1000:] == b"\n[truncated: 1000 of 3000000 bytes are kept]\n"


def test_what_was_used_is_measured(yard: Yard) -> None:
    code = "import time; b = bytearray(60 << 20); t = time.process_time()\nwhile time.process_time() - t < 0.3: pass"
    done = yard.run("python3", "-c", code)
    assert done.result is not None
    assert done.result.use.wall_s >= 0.3
    if yard.provider.remote:  # looked at from time to time
        assert 0 < done.result.use.cpu_s < 20
        return
    assert done.result.use.cpu_s >= 0.3
    assert done.result.use.max_rss >= 60 << 20


def test_the_same_name_and_command_start_once(yard: Yard) -> None:
    workspace = yard.workspace()
    spec = yard.spec("sh", "-c", "echo x >> count", workspace=workspace)
    first = yard.provider.start(spec)
    again = yard.provider.start(spec)
    yard.provider.wait(first.id, 120)
    assert again.id == first.id
    assert yard.provider.start(spec).state == "success"
    assert (workspace / "count").read_text() == "x\n"


def test_the_same_name_for_another_command_is_a_conflict(yard: Yard) -> None:
    spec = yard.spec("true")
    yard.provider.start(spec)
    with pytest.raises(Problem) as refusal:
        yard.provider.start(dataclasses.replace(spec, argv=("false",)))
    assert refusal.value.code == "conflict"


def test_many_at_once_have_the_same_name_and_one_runs(yard: Yard) -> None:
    workspace = yard.workspace()
    spec = yard.spec("sh", "-c", "echo x >> count; sleep 0.1", workspace=workspace)
    threads = [threading.Thread(target=yard.provider.start, args=(spec,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yard.provider.wait(spec.id, 120)
    assert (workspace / "count").read_text() == "x\n"


def test_what_was_never_started_is_not_found(yard: Yard) -> None:
    for ask in (
        yard.provider.attach,
        yard.provider.poll,
        yard.provider.kill,
        yard.provider.logs,
        yard.provider.remove,
    ):
        with pytest.raises(Problem) as refusal:
            ask("never.started.1")
        assert refusal.value.code == "not_found"


def test_an_ended_one_can_be_forgotten_and_only_that(yard: Yard) -> None:
    sandbox = yard.provider.start(yard.spec("sleep", "30"))
    with pytest.raises(Problem) as refusal:
        yard.provider.remove(sandbox.id)
    assert refusal.value.code == "busy"
    yard.provider.kill(sandbox.id, 0)
    yard.provider.wait(sandbox.id, 120)
    yard.provider.remove(sandbox.id)
    with pytest.raises(Problem):
        yard.provider.poll(sandbox.id)


def test_a_missing_workspace_starts_nothing_and_leaves_nothing(yard: Yard) -> None:
    spec = yard.spec("true", workspace=yard.folder / "nowhere")
    with pytest.raises(Problem) as refusal:
        yard.provider.start(spec)
    assert refusal.value.code == "unavailable"
    with pytest.raises(Problem):
        yard.provider.poll(spec.id)
    (yard.folder / "nowhere").mkdir()
    assert yard.provider.start(spec).id == spec.id, "and the name is free for another try"
    yard.provider.wait(spec.id, 120)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../x"}, {"id": "a/b"}, {"id": ""}, {"id": "a" * 201}, {"argv": ()}, {"argv": ("",)},
        {"argv": ("a\0b",)},
        {"cwd": "../x"}, {"cwd": "/etc"}, {"workspace": "relative"}, {"env": (("A=B", "c"),)}, {"env": (("A", "b\0"),)},
        {"env": (("A", "1"), ("A", "2"))}, {"secrets": (Secret("A-B", "x"),)}, {"mounts": (Mount("etc", "/x"),)},
        {"mounts": (Mount("/etc", "/x/../y"),)}, {"hosts": ("10.0.0.1",)}, {"hosts": ("http://example.com",)},
        {"hosts": ("*",)}, {"hosts": ("example.com:0",)}, {"limits": Limits(memory=0)}, {"limits": Limits(wall_s=-1)},
        {"argv": ("x" * (2 << 20),)}, {"argv": ("\ud800",)},
    ],
    ids=lambda change: str(change)[:40],
)  # fmt: skip
def test_a_spec_that_cannot_be_is_refused_before_anything_is_made(
    yard: Yard, change: dict[str, object]
) -> None:
    spec = dataclasses.replace(yard.spec("true"), **change)
    before = sorted(path.name for path in (yard.folder / "state").iterdir())
    with pytest.raises(Problem) as refusal:
        yard.provider.start(spec)
    assert refusal.value.code == "validation_failed"
    assert sorted(path.name for path in (yard.folder / "state").iterdir()) == before


def test_whoever_asked_is_told_once_when_it_ended(yard: Yard) -> None:
    told: list[Sandbox] = []
    sandbox = yard.provider.start(yard.spec("sleep", "0.1"))
    yard.provider.when_ended(sandbox.id, told.append)
    yard.provider.wait(sandbox.id, 120)
    until(lambda: len(told) == 1)
    yard.provider.when_ended(sandbox.id, told.append)
    until(lambda: len(told) == 2)
    assert {one.state for one in told} == {"success"}


def test_waiting_in_a_loop_holds_no_thread_and_cancelling_kills(yard: Yard) -> None:
    async def scene() -> tuple[Sandbox, Sandbox]:
        done = await run(yard.provider, yard.spec("true"))
        spec = yard.spec("sleep", "300", limits=dataclasses.replace(QUICK, wall_s=300))
        task = asyncio.create_task(run(yard.provider, spec))
        await asyncio.to_thread(
            until, (yard.folder / "state" / spec.id).exists
        )  # while it starts, or just after
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return done, await finished(yard.provider, spec.id)

    done, killed = asyncio.run(scene())
    assert done.state == "success"
    assert killed.result is not None
    assert killed.result.reason == "killed"


def test_several_run_side_by_side(yard: Yard) -> None:
    started = [yard.provider.start(yard.spec("sh", "-c", f"sleep 0.2; echo {n}")) for n in range(8)]
    assert [yard.text(yard.provider.wait(one.id, 120)) for one in started] == [f"{n}\n" for n in range(8)]
