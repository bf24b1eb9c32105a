"""A coding agent of somebody else: a program of its own that speaks ACP on its standard streams, by the protocol's
published library. `python foreign_agent.py MODE`; most modes do not behave."""

import asyncio
import os
import signal
import socket
import sys
from typing import Any

PACKAGES = "/opt/agent/packages"
sys.path.insert(0, PACKAGES)  # in the jail it is here

import acp  # noqa: E402
from acp.schema import (  # noqa: E402
    AgentCapabilities,
    InitializeResponse,
    NewSessionResponse,
    PermissionOption,
    PromptResponse,
)

TOP = "/workspace"


def put(path: str, content: str) -> None:
    """Write a file without asking anybody."""
    os.makedirs(os.path.dirname(f"{TOP}/{path}"), exist_ok=True)
    with open(f"{TOP}/{path}", "w") as file:
        file.write(content)


def arguments() -> str:
    """The command line of this program, as everybody in here sees it."""
    with open("/proc/self/cmdline") as line:
        return line.read()


def reaches(host: str) -> str:
    """Whether a host can be spoken with."""
    try:
        socket.create_connection((host, 443), timeout=2).close()
    except OSError as error:
        return type(error).__name__
    return "reached"


def seen(*paths: str) -> list[str]:
    """Those of some paths that there are."""
    return [path for path in paths if os.path.exists(path)]


class Double(acp.Agent):
    """Does what its mode says when it is prompted."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.logged_in = ""

    def on_connect(self, conn: Any) -> None:
        self.conn = conn

    async def initialize(self, protocol_version: int, **_: Any) -> InitializeResponse:
        return InitializeResponse(protocol_version=protocol_version, agent_capabilities=AgentCapabilities())

    async def authenticate(self, method_id: str, **_: Any) -> None:
        self.logged_in = method_id

    async def new_session(self, cwd: str, **_: Any) -> NewSessionResponse:
        if self.mode == "keyed" and not self.logged_in:
            raise acp.RequestError.auth_required()
        assert cwd == os.getcwd() == TOP
        return NewSessionResponse(session_id="s-1")

    async def prompt(self, prompt: list[Any], session_id: str, **_: Any) -> PromptResponse:
        self.session, self.told = session_id, prompt[0].text
        await getattr(self, self.mode)()
        return PromptResponse(stop_reason="end_turn")

    async def cancel(self, session_id: str, **_: Any) -> None:
        del session_id

    async def say(self, text: str) -> None:
        await self.conn.session_update(self.session, acp.update_agent_message_text(text))

    async def may(self, title: str, kind: str, path: str = "", **raw: Any) -> str:
        call = acp.start_tool_call(f"call-{os.getpid()}-{title}", title, kind=kind, raw_input=raw)
        await self.conn.session_update(self.session, call)
        options = [
            PermissionOption(option_id="always", name="Always", kind="allow_always"),
            PermissionOption(option_id="yes", name="Yes", kind="allow_once"),
            PermissionOption(option_id="no", name="No", kind="reject_once"),
        ]
        asked: Any = acp.update_tool_call(
            call.tool_call_id, locations=[{"path": f"{TOP}/{path}"}] if path else None
        )
        reply = await self.conn.request_permission(session_id=self.session, options=options, tool_call=asked)
        return str(getattr(reply.outcome, "option_id", reply.outcome.outcome))

    async def good(self) -> None:
        read = await self.conn.read_text_file(session_id=self.session, path=f"{TOP}/README.md")
        answer = await self.may("Write src/hello.py", "edit", "src/hello.py", new="print('hello')")
        if answer == "yes":
            put("src/hello.py", "print('hello')\n")
        await self.conn.write_text_file(
            session_id=self.session, path=f"{TOP}/src/deep/via.py", content="via = 1\n"
        )
        await self.say(f"answer {answer}; {read.content.splitlines()[0]}; told {'lab' in self.told}")

    async def shell(self) -> None:
        await self.say(await self.may("make release", "execute", command="make release"))
        put("released.txt", "yes\n")

    async def waits_for_word(self) -> None:
        told = "Write the second file" in self.told
        put("second.txt", f"told {told}; first here {bool(seen(TOP + '/first.txt'))}\n")
        if not told:
            put("first.txt", "first\n")
            await self.conn.read_text_file(session_id=self.session, path=f"{TOP}/first.txt")
            await asyncio.Event().wait()

    async def ignores(self) -> None:
        answer = await self.may("Loosen the policy", "edit", "builderos.policy.yaml")
        put("builderos.policy.yaml", "version: 1\n")
        await self.say(answer)

    async def looks_around(self) -> None:
        words = ("TOKEN", "KEY", "SECRET", "DATABASE", "HOST", "USER")
        found = [name for name in os.environ if any(word in name for word in words)]
        outside = seen("/root", "/srv", "/var/log")
        put("out.txt", "here\n")
        await self.say(f"env {found} outside {outside} network {reaches('1.1.1.1')}")

    async def keyed(self) -> None:
        print("the key is", os.environ.get("LAB_KEY"), file=sys.stderr, flush=True)
        shown = os.environ["LAB_KEY"] in arguments()
        told = f"{self.logged_in} {os.environ['LAB_PLACE']} {len(os.environ['LAB_KEY'])} {shown}"
        await self.say(f"{told} {os.environ['LAB_KEY']}")

    async def writes_git(self) -> None:
        put(".git/hooks/post-checkout", "#!/bin/sh\n")
        put("src/sub/.git/config", "[core]\n")
        put("src/ok.py", "ok = 1\n")
        await self.say("Done.")

    async def escapes(self) -> None:
        said: list[str] = []
        os.symlink("/etc", f"{TOP}/etc")
        for path in ("/etc/passwd", f"{TOP}/../etc/passwd", f"{TOP}/etc/passwd", f"{TOP}/.git/config"):
            for ask in (self.conn.read_text_file, self.conn.write_text_file):
                more = {"content": "x"} if ask == self.conn.write_text_file else {}
                try:
                    await ask(session_id=self.session, path=path, **more)
                except acp.RequestError as error:
                    said.append(str(error.code))
        for unheard in (
            self.conn.write_text_file(session_id=self.session, path=f"{TOP}/odd.txt", content="a\0b"),
            self.conn.create_terminal(session_id=self.session, command="id"),
        ):
            try:
                await unheard
            except acp.RequestError as error:
                said.append(str(error.code))
        said.append(await self.may("Edit it", "edit", "../etc/passwd"))
        os.unlink(f"{TOP}/etc")
        await self.say(" ".join(said))

    async def never_ends(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        put("half.txt", "half\n")
        await self.say("I begin")
        await asyncio.Event().wait()


def main(mode: str) -> None:
    if mode == "endless":
        while True:
            sys.stdout.write("x" * 65536)
    elif mode == "garbage":
        while True:
            print("Welcome to my agent!", flush=True)
    elif mode == "early":
        sys.exit("no key is configured")
    asyncio.run(acp.run_agent(Double(mode)))


if __name__ == "__main__":
    main(sys.argv[1])
