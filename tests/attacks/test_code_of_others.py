"""Nothing that is sent is ever carried out: not as Python, not by a shell, not by git, not as a rule."""

import ast
import re
from pathlib import Path

import pytest

import builderos
from tests.support.gitclients import clone

from .conftest import Target

ROOT = Path(__file__).resolve().parents[2]
PYTHON_TAGS = [
    "!!python/object/apply:os.system ['touch {trap}']",
    "!!python/object/new:subprocess.Popen [['touch', '{trap}']]",
    "!!python/name:os.system",
    "!!python/module:antigravity",
]


@pytest.mark.parametrize("tag", PYTHON_TAGS)
def test_checking_a_document_carries_nothing_of_it_out_and_needs_a_credential(
    target: Target, trap: Path, tag: str
) -> None:
    """Case 1: code run by a "validate" endpoint, before anybody had signed in."""
    text = tag.format(trap=trap)
    content = f"version: 1\nrules: [{{id: a, deny: {{tools: {text}}}}}]\n"
    cases = f"- {{action: {text}}}\n"
    doors = [
        ("/v1/policies/explain", {"action": "files.write", "content": content}),
        ("/v1/policies/simulate", {"cases": cases}),
        ("/v1/policies/diff", {"content": content}),
    ]
    for path, body in doors:
        target.refused(target.post(path, None, **body), "unauthenticated")
        target.refused(target.post(path, target.lab.world.owner_token, **body), "validation_failed")
    for name in ("builderos.yaml", "project/task.yaml", "project/memory.yaml", "project/changelog.yaml"):
        target.box.try_post(
            "/commit_and_log_output", message="m", file_path=name, content=f"version: {text}\n"
        )
        target.box.try_post("/tasks/query", mode="list")
        target.box.try_post("/memory/query", mode="list")
    assert not trap.exists()


def test_who_holds_a_shared_link_brings_nothing_along(target: Target) -> None:
    """Case 2: a public flow accepted the caller's code."""
    made = target.lab.ok(target.lab.as_owner(
        "POST", f"/v1/sandboxes/{target.lab.sandbox_id(target.box)}/share", json={}
    ))  # fmt: skip
    link = made["share_token"]
    more = {"share_token": link, "files": [{"path": "x", "content": "x"}], "pipeline": {"steps": ["touch x"]}}
    target.refused(target.post("/v1/shared", None, **more), "validation_failed", "not_found")
    here = {"repo_name": "lab", "branch": target.box.branch}
    for path, body in (
        ("/commit_and_log_output", {"message": "m", "file_path": "x", "content": "x"}),
        ("/git/promote", {"title": "t"}),
        ("/tasks/lifecycle", {"action": "create", "task_id": "1_x", "title": "x"}),
        ("/memory/manage", {"action": "index"}),
        ("/system/backup", {}),
    ):
        target.refused(target.post(path, link, **here, **body), "policy_denied")


FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_NAMES = {
    ("pickle", "load"), ("pickle", "loads"), ("marshal", "loads"), ("shelve", "open"), ("yaml", "load"),
    ("yaml", "unsafe_load"), ("yaml", "full_load"), ("os", "system"), ("os", "popen"), ("runpy", "run_path"),
}  # fmt: skip


def test_the_server_has_no_place_where_text_becomes_code() -> None:
    """Case 3: an escape out of a "Python sandbox" in the server's process. There is none to escape from."""
    found: list[str] = []
    for file in Path(builderos.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            if isinstance(called, ast.Name) and called.id in FORBIDDEN_CALLS:
                found.append(f"{file.name}:{node.lineno} {called.id}")
            if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                named = (called.value.id, called.attr)
                safe = named == ("yaml", "load") and "Safe" in ast.dump(node)
                if named in FORBIDDEN_NAMES and not safe:
                    found.append(f"{file.name}:{node.lineno} {'.'.join(named)}")
            shell = [k for k in node.keywords if k.arg == "shell"]
            found += [f"{file.name}:{k.value.lineno} shell" for k in shell]
    assert found == []


SHELL = [
    "; touch {trap}",
    "$(touch {trap})",
    "`touch {trap}`",
    "| touch {trap}",
    "\n touch {trap}",
    "&& touch {trap}",
]
SOURCES = [
    "--upload-pack=touch {trap}", "-oProxyCommand=touch {trap}", "ext::sh -c touch% {trap}", "fd::7", "file://{trap};x",
    "https://-oProxyCommand=x/repo", "ssh://-oProxyCommand=touch%20{trap}/x", "git@-oProxyCommand=x:y", "--config=x",
    "https://user:secret@host.example/x", "http::https://x", "transport::x",
]  # fmt: skip


def test_no_name_and_no_address_reaches_a_shell(target: Target, trap: Path) -> None:
    """Case 8: shell injection by a model's address, by a dotfiles address."""
    owner = target.lab.world.owner_token
    for source in SOURCES:
        response = target.post("/v1/repos/import", owner, source=source.format(trap=trap), name="x")
        target.refused(response, "validation_failed", "upstream_failed", "not_found")
    for word in (text.format(trap=trap) for text in SHELL):
        box = target.box
        box.try_post("/git/log", path=word)
        box.try_post("/git/diff", **{"from": word, "to": word})
        box.try_post("/git/rollback_commit", commit_sha=word, reason=word)
        box.try_post(
            "/commit_and_log_output", message=word, file_path="b.txt", content=word, agent_version=word
        )
        target.post("/v1/repos/import", owner, source=f"https://host.example/{word}", name=word)
        target.send("GET", "/git/lab.git/info/refs", owner, params={"service": f"git-upload-pack{word}"})
        target.send(
            "GET", f"/git/lab{word}.git/info/refs".replace("\n", "%0a"), owner,
            params={"service": "git-upload-pack"}, headers={"Git-Protocol": f"version=2{word}".replace("\n", " ")},
        )  # fmt: skip
    assert not trap.exists()


def test_what_we_install_is_pinned_by_hash_and_runs_nothing_at_start() -> None:
    """Case 10: a poisoned dependency with a `.pth` file, which Python runs at every start."""
    lock = (ROOT / "requirements" / "runtime.lock").read_text("utf-8")
    pinned = re.findall(r"^([A-Za-z0-9_.\[\]-]+)==\S+((?:[^\n]*\\\n)*[^\n]*)", lock, re.MULTILINE)
    assert len(pinned) > 20
    assert [name for name, rest in pinned if "--hash=sha256:" not in rest] == []
    unpinned = [line for line in lock.splitlines() if re.match(r"[A-Za-z]", line) and "==" not in line]
    assert unpinned == []
    ours = [
        file.name for file in (ROOT / "src").rglob("*") if file.suffix == ".pth" or "customize" in file.name
    ]
    assert ours == []


HOOKS = {
    ".git/hooks/post-update": "#!/bin/sh\ntouch {trap}\n",
    ".GIT/config": "[core]\n\tfsmonitor = touch {trap}\n",
    "git~1/config": "[core]\n\thooksPath = .\n",
    ".git\u200c/config": "[core]\n\tpager = touch {trap}\n",
    ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = ext::touch% {trap}\n\tupdate = !touch {trap}\n',
    ".gitattributes": "* filter=evil diff=evil merge=evil\n",
}


def test_what_git_reads_as_settings_never_is_a_setting_of_the_server(target: Target, trap: Path) -> None:
    """Case 20: git's own files as code: hooks, fsmonitor, filters, a folder in the place of another."""
    box = target.lab.open_sandbox()
    for path, content in HOOKS.items():
        response = box.try_post(
            "/commit_and_log_output", message="m", file_path=path, content=content.format(trap=trap)
        )
        if path == ".gitattributes":  # a file like any other: only a work tree would read it
            target.lab.ok(response)
        else:
            target.refused(response, "invalid_path", "validation_failed")
    box.commit({"a.txt": "a\n"})
    box.post("/git/diff", against="main")
    box.post("/git/log", path="a.txt")
    box.post("/system/backup")
    mine = clone(target.url, box.token, box.branch, trap.parent / "mine")
    mine.commit({"b.txt": "b\n"})
    assert mine.push().ok
    assert not trap.exists()


MODULES = [
    '[submodule "x"]update=!sh', '[submodule "x"]\n\tUpdate = "!sh"', '[submodule "x"]\nurl = -u./x',
    '[submodule "x"]\n path = -x', '[submodule "../../x"]\n path = x', '[ SUBMODULE "a/../b"]\n path = x',
    '[submodule "x"]\n url = ext::sh',
]  # fmt: skip


@pytest.mark.parametrize("text", MODULES)
def test_no_submodule_runs_a_command_where_a_branch_is_cloned(target: Target, text: str) -> None:
    """Case 20: what a push is refused for is refused in a commit, too."""
    change = {"message": "m", "file_path": ".gitmodules", "content": text}
    target.refused(target.box.try_post("/commit_and_log_output", **change), "validation_failed")
    plain = (
        f"# {MODULES.index(text)}\n"
        '[submodule "libs/x"]\n\tpath = libs/x\n\turl = https://host.example/x.git\n\tupdate = rebase\n'
    )
    target.lab.ok(target.box.try_post("/commit_and_log_output", **{**change, "content": plain}))


def test_what_a_workspace_says_of_rules_is_no_rule(target: Target) -> None:
    """Case 22: the workspace writes the settings of the agent, or poisons its environment."""
    box = target.lab.open_sandbox()
    everything = "version: 1\nrules: [{id: all, allow: {tools: ['*'], network: ['*'], secrets: ['*']}}]\n"
    box.commit({
        "builderos.policy.yaml": everything, ".mcp.json": '{"mcpServers": {}}', ".vscode/tasks.json": "{}",
        ".envrc": "export PATH=.", "conftest.py": "raise SystemExit", "sitecustomize.py": "raise SystemExit",
        "builderos.yaml": "version: 1\nproject: {name: x}\nrepo: {host: local, owner: x, name: x, base_branch: main}\n"
        "defaults: {write_branch: main}\n",
    })  # fmt: skip
    shown = target.lab.ok(target.lab.as_owner("GET", "/v1/policies"))
    assert shown["version"] == 0
    change = {"message": "m", "file_path": "x.txt", "content": "x", "branch": "main"}
    target.refused(box.try_post("/commit_and_log_output", **change), "protected_branch")
    asked = target.lab.ok(box.try_post("/git/promote", title="Rules of my own"), 202)
    assert target.lab.ok(target.lab.as_owner("GET", f"/v1/pulls/{asked['promotion_id']}"))["state"] == "open"
    reach = {"action": "network.reach", "host": "evil.example", "agent": box.branch}
    answer = target.lab.ok(target.lab.as_owner("POST", "/v1/policies/explain", json=reach))
    assert answer["verdict"] == "deny"
