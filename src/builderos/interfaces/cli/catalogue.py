"""Every command with its one line, as data: help and completion come from here without importing any of them."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Entry:
    """A command: the module of this package that has it (as `command`, or under `attribute`), and its line of help."""

    name: str
    module: str
    summary: str
    attribute: str = ""


SECTIONS: Final[tuple[tuple[str, tuple[Entry, ...]], ...]] = (
    (
        "Start",
        (
            Entry("up", "server", "Serve in the foreground, or with --detach in the background", "up"),
            Entry("init", "start", "Bring a repository in and show the next five steps"),
            Entry("open", "open", "Open the console in your browser, signed in as you", "open_"),
            Entry("demo", "demo", "Run the main job on a real repository and verify it", "demo"),
            Entry("worker", "server", "Carry out runs for servers on other machines", "worker"),
            Entry("self", "server", "Look at or stop the local server", "self_"),
            Entry("doctor", "doctor", "Check this installation and say what to mend"),
            Entry("selftest", "selftest", "Prove isolation, reuse, rollback, backup and memory here"),
        ),
    ),
    (
        "Build",
        (
            Entry("sandbox", "sandbox", "Open, list, share, renew and archive workspaces"),
            Entry("resume", "sandbox", "Come back to a workspace with its token", "resume"),
            Entry("commit", "files", "Save local files to your branch as one commit", "commit"),
            Entry("fetch", "files", "Read files of a branch", "fetch"),
            Entry("log", "history", "Show the history of a branch", "log"),
            Entry("diff", "history", "Show what changed", "diff"),
            Entry("rollback", "history", "Undo one commit with a new commit", "rollback"),
            Entry("reset", "history", "Make a branch equal to main, a commit or a backup again", "reset"),
            Entry("backup", "backup", "Make, list and restore backups"),
        ),
    ),
    (
        "Deliver",
        (
            Entry("promote", "promote", "Propose your branch for main, or release it", "promote"),
            Entry("pull", "promote", "List, show, review and merge proposals", "pull"),
            Entry("prompt", "prompt", "Publish, compare, label and carry prompts"),
            Entry("agent", "agent", "List and show agents, give one a task, steer it"),
            Entry("eval", "eval", "Try suites of cases on prompts and models"),
            Entry("experiment", "experiment", "Search what was tried, and compare what came of it"),
            Entry("dataset", "dataset", "Register data by name and version, see where things come from"),
            Entry("model", "model", "Register models, stage and promote their versions"),
            Entry("endpoint", "endpoint", "Have models answer, split their traffic, take it back"),
            Entry("app", "app", "Serve apps of a commit, look after them, take them back"),
            Entry("pipeline", "pipeline", "Look over, publish, list and show pipelines"),
            Entry("run", "run", "Start a pipeline, follow and steer its runs"),
            Entry("deploy", "deploy", "Deploy a branch, look after it, take it back"),
            Entry("session", "session", "Work in a notebook or a shell on the files of a branch"),
            Entry("replay", "replay", "Execute a run again from its records, and compare", "replay"),
            Entry("receipt", "replay", "Print the signed receipt of a run", "receipt"),
            Entry("verify-receipt", "replay", "Verify a receipt without any server", "verify_receipt"),
            Entry("logs", "run_logs", "Print or follow the log of a step, or of a run", "logs"),
            Entry("artifacts", "artifacts", "Send, fetch and list what runs and people keep"),
            Entry("answer", "run", "Answer what a run asks", "answer"),
            Entry("approvals", "approvals", "List what waits for a decision", "approvals"),
            Entry("approve", "approvals", "Say yes to exactly one waiting change", "approve"),
            Entry("deny", "approvals", "Say no to a waiting change", "deny"),
        ),
    ),
    (
        "Plan and remember",
        (
            Entry("task", "task", "Create, start, complete and hand over tasks"),
            Entry("memory", "memory_items", "Search and keep the memory of a branch, and what is remembered"),
        ),
    ),
    (
        "Operate",
        (
            Entry("repo", "repo", "Import and list repositories"),
            Entry("metrics", "metrics", "Count commits, files, rollbacks, failures and tasks"),
            Entry("why", "why", "Tell why a line is there: who made it, who approved it", "why"),
            Entry("provenance", "why", "Show where a commit, promotion or approval comes from", "provenance"),
            Entry("audit", "audit", "List, verify and export the ledger; see who read what"),
            Entry("inbox", "inbox", "See what waits for you, and choose what comes by mail"),
            Entry("alert", "alert", "List and acknowledge alerts"),
            Entry(
                "providers", "providers", "Show where commands run and how firmly they are held", "providers"
            ),
            Entry("runtimes", "providers", "List what commands of runs may have", "runtimes"),
            Entry(
                "executions",
                "providers",
                "List commands that were executed, and what they used",
                "executions",
            ),
            Entry("usage", "usage", "Show what was used, per day or per actor", "usage"),
            Entry("budget", "usage", "Look at budgets, set and remove them", "budget"),
            Entry("ai", "ai", "Look at models, what they cost and what they may cost", "ai"),
            Entry("admin", "usage", "Look after the whole server", "admin"),
            Entry("webhook", "webhook", "Send events to addresses of yours, and see how it went"),
            Entry("key", "key", "Create, list and revoke API keys"),
            Entry("secret", "secret", "Keep secrets, and credentials out of git"),
            Entry("policy", "policy", "Show, propose, explain and test the rules of your organisation"),
        ),
    ),
    (
        "Team",
        (
            Entry("org", "org", "Make, open, close and route organisations", "org"),
            Entry(
                "project", "project", "Put repositories into projects, and say who does what there", "project"
            ),
            Entry("member", "team", "Invite, list, change and remove members", "member"),
            Entry("token", "team", "Create, list and revoke tokens and sessions", "token"),
            Entry("sso", "connections", "Let members sign in at a provider of your own", "sso"),
            Entry("program", "connections", "Register programs that sign members in", "program"),
        ),
    ),
    (
        "Connect",
        (
            Entry("login", "login", "Sign in at a server with your browser", "login"),
            Entry("logout", "login", "Sign out again", "logout"),
            Entry("whoami", "login", "Say who you are to this server", "whoami"),
            Entry("tools", "tools", "List the tools that you may use"),
            Entry("api", "api", "Call any operation of the HTTP contract"),
            Entry("mcp", "server", "Serve the tools over MCP on stdin and stdout", "mcp"),
            Entry("completion", "helping", "Print the completion script of a shell", "completion"),
            Entry("help", "helping", "Explain a command or a topic, e.g. exit-codes", "help_"),
            Entry("version", "helping", "Print the version", "version"),
        ),
    ),
)
ALIASES: Final = {"secrets": "secret"}  # other words for a command
ENTRIES: Final = {entry.name: entry for _, entries in SECTIONS for entry in entries}

_TOP: Final = """\
Usage: builderos [OPTIONS] COMMAND [ARGS]...

  A safe place to build in a real Git repository, for people and the AI that
  helps them. Commands talk to the server of this machine and start it when
  none answers.
"""
_BOTTOM: Final = """\
Everywhere:
  --json         Print one JSON document and nothing else
  --token TOKEN  Act with this token; @FILE reads a file, - reads stdin
  --as owner     Act as the owner of the local server
  --url URL      Use this server (default: the local one)
  -v, --verbose  Show request ids and codes with errors
  -h, --help     Explain a command

`builderos help exit-codes` and `builderos help environment` say more.
"""


def page() -> str:
    """The page of help that `builderos --help` prints; help.txt holds the same."""
    width = max(map(len, ENTRIES))
    blocks = [
        f"{title}:\n" + "".join(f"  {entry.name:<{width}}  {entry.summary}\n" for entry in entries)
        for title, entries in SECTIONS
    ]
    return "\n".join([_TOP, *blocks, _BOTTOM])
