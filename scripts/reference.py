"""Writes docs/reference anew from the code: settings, error codes, operations, commands, schemas of the file formats.

`make reference` calls it; a test compares what lies there with what it would write.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from builderos.app import GROUPS
from builderos.assets.prompts.formats import SCHEMA as PROMPT
from builderos.assets.workspaces import delivery
from builderos.core.operations import Operation
from builderos.core.problems import RETRYABLE, STATUS
from builderos.core.settings import Settings
from builderos.execution.runs.definition.formats import SCHEMA as PIPELINE
from builderos.interfaces.cli.catalogue import SECTIONS
from builderos.interfaces.cli.main import root
from builderos.trust.policy.file_schema import SCHEMA as POLICY
from builderos.workloads.evals.formats import SCHEMA as SUITE

FOLDER: Final = Path(__file__).parents[1] / "docs" / "reference"
NOTE: Final = "Made from the code by `make reference`. Do not edit.\n"

# What a code means to the person who reads it. A code without a line here fails the generation.
MEANING: Final = {
    "branch_required": "No branch was named and the credential implies none. Name your branch.",
    "invalid_path": "A path breaks the path rules, or two paths are one file on some computers. Choose another name.",
    "token_invalid": "The token is not valid here, or was revoked. Check that all of it was copied.",
    "token_expired": "The token was idle for too long. An owner can renew the workspace while it is kept.",
    "unauthenticated": "This call needs a credential. Send a token or an API key.",
    "credits_exhausted": "Kept for metered features; nothing raises it yet.",
    "forbidden_branch": "The branch belongs to somebody else. Use your own.",
    "protected_branch": "Nobody writes main, the base branch, backups or archives directly. Promote instead.",
    "tool_not_allowed": "The token's profile does not include this tool. Ask the owner for a standard token.",
    "policy_denied": "A rule forbids it; `policy_rule` names the rule. Ask somebody who may.",
    "quota_exceeded": "A count is used up; `limit` and `used` say which. Promote, then start a new workspace.",
    "budget_exceeded": "Kept for budgets; nothing raises it yet.",
    "runtime_not_approved": "Kept for runtimes; nothing raises it yet.",
    "approval_required": "A person has to approve exactly this change first.",
    "not_found": "It does not exist, or it is not yours to know about. Both look the same on purpose.",
    "method_not_allowed": "The path exists with another HTTP method.",
    "busy": "Somebody else is writing right now. Repeat the call.",
    "conflict": "It changed since you read it, or two changes contradict; `conflicts` says where. Read it again.",
    "idempotency_conflict": "The same `idempotency_key` came with another body. Use a new key for a new call.",
    "illegal_transition": "The object is not in a state for this; `allowed` lists what would be.",
    "version_exists": "That release version has been published. Choose a higher one.",
    "tool_version_removed": "The wanted `tool_version` is not served; `upgrade` names one that is.",
    "payload_too_large": "A file, a message, a list or the whole request is over its limit. Send less at once.",
    "unsupported_media_type": "The body is not JSON. Send `Content-Type: application/json`.",
    "range_not_satisfiable": "The object has no such bytes; `size` says how many it has.",
    "misdirected_request": "The server does not answer to this host name. Use its own address, or set the public one.",
    "validation_failed": "The input does not fit the schema or makes no sense; `fields` says where.",
    "rate_limited": "Too many calls. Wait `retry_after_s` seconds.",
    "hash_mismatch": "What is stored is not what was kept. Bring it back from a backup, or make it anew.",
    "internal": "A fault of the server. Report the `request_id`.",
    "upstream_failed": "Another service failed, for example the address a repository is imported from.",
    "write_not_verified": "The commit is durable, but reading it back failed. Repeat with the same key.",
    "unavailable": "Database or files cannot be reached now. Try again; see `/readyz` and `builderos doctor`.",
    "storage_full": "The disk is full. Nothing was changed. Free space and repeat.",
}  # fmt: skip


_EVERYWHERE: Final = frozenset({"as_json", "token", "as_role", "url", "verbose", "help"})


def variable(name: str) -> str:
    """The environment variable of a setting."""
    alias = Settings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return f"BUILDEROS_{name.upper()}"


def _default(name: str, field: FieldInfo) -> str:
    if name == "home":
        return "the platform's state folder"
    if field.default is None:
        return "–"
    value = field.default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def settings() -> str:
    """docs/reference/settings.md."""
    assert SecretStr not in {type(f.default) for f in Settings.model_fields.values()}
    rows = [
        f"| `{variable(name)}` | {_default(name, field)} | {_cell(field.description or '')} |"
        for name, field in Settings.model_fields.items()
    ]
    head = (
        "Settings are environment variables, read once when the server starts. Sizes are in bytes and times in seconds"
        " unless the text says otherwise. A wrong value stops the start with a message that names the setting.\n\n"
        "| variable | default | meaning |\n|---|---|---|\n"
    )
    return f"# Settings\n\n{NOTE}\n{head}" + "\n".join(rows) + "\n"


def errors() -> str:
    """docs/reference/errors.md. Raises `KeyError` for a code without a meaning."""
    rows = [
        f"| `{code}` | {status} | {'yes' if code in RETRYABLE else 'no'} | {MEANING[code]} |"
        for code, status in STATUS.items()
    ]
    head = (
        "Every failure is a JSON document of the media type `application/problem+json`. Branch on `code`; show"
        " `detail`; do what `hint` says; quote `request_id` when you report it.\n\n"
        "| code | status | retry | meaning |\n|---|---|---|---|\n"
    )
    return f"# Error codes\n\n{NOTE}\n{head}" + "\n".join(rows) + "\n"


def operations() -> str:
    """docs/reference/operations.md."""
    intro = (
        "One declaration per operation makes the HTTP route, the MCP tool, the entry of `listActions` and"
        " `builderos api <name>`. Profile `minimal` and `standard`: a workspace token may use it, where the rules allow"
        " it. Profile `platform`: not offered to chat models. The full schemas are in `openapi.json`.\n"
    )
    parts = [f"# Operations\n\n{NOTE}\n{intro}"]
    for group in GROUPS:
        parts.append(f"\n## Group {group.group}\n")
        parts += [_operation(operation) for operation in group.items]
    return "".join(parts)


def _operation(op: Operation) -> str:
    marks = [f"profile {op.profile}", "reads" if op.effect == "read" else "writes"]
    marks += ["asks a person first in chats"] if op.consequential else []
    marks += ["needs no credential"] if op.credential == "optional" else []
    marks += ["deprecated"] if op.deprecated else []
    fields = "".join(
        f"- `{name}`{'' if not field.is_required() else ' (required)'}"
        f"{': ' + _cell(field.description) if field.description else ''}\n"
        for name, field in op.body.model_fields.items()
        if name not in ("idempotency_key", "tool_version", "reuse_token")
    )
    return f"\n### `{op.name}`\n\n`{op.method} {op.path}` · {', '.join(marks)}\n\n{op.summary}\n" + (
        f"\n{fields}" if fields else ""
    )


def cli() -> str:
    """docs/reference/cli.md."""
    parts = [f"# Commands\n\n{NOTE}\n"]
    parts.append(
        "Every command takes `--json`, `--token`, `--as owner`, `--url`, `-v` and `-h`; see `builderos --help`."
        " `builderos help exit-codes`, `builderos help environment` and `builderos help problems` say more.\n"
    )
    context = click.Context(root, info_name="builderos")
    for title, entries in SECTIONS:
        parts.append(f"\nSection *{title}*:\n")
        for entry in entries:
            command = root.get_command(context, entry.name)
            assert command is not None
            parts += _command(command, ["builderos", entry.name], context)
    return "".join(parts)


def _command(command: click.Command, words: list[str], parent: click.Context) -> Iterator[str]:
    context = click.Context(
        command, info_name=words[-1], parent=parent, terminal_width=100, max_content_width=100
    )
    usage = " ".join(command.collect_usage_pieces(context))
    text = " ".join((command.help or "").split("\n\n")[0].split())
    more = [" ".join(p.split()) for p in (command.help or "").split("\n\n")[1:]]
    yield f"\n{'#' * len(words)} {' '.join(words)}\n\n`{' '.join(words)} {usage}`\n\n{text}\n"
    yield from (f"\n{paragraph}\n" for paragraph in more)
    own = [p for p in command.params if p.name not in _EVERYWHERE]
    records = [record for p in own if (record := p.get_help_record(context)) and record[1]]
    if records:
        yield "\n" + "".join(f"- `{names}`: {' '.join(text.split())}\n" for names, text in records)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(inner, [*words, name], context)


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schemas of the delivery files, of the pipeline and of the policy file by name."""
    return delivery.schemas() | {"pipeline": PIPELINE, "prompt": PROMPT, "suite": SUITE, "policy": POLICY}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def generated() -> dict[Path, str]:
    """Every generated file with its text."""
    pages = {"settings.md": settings(), "errors.md": errors(), "operations.md": operations(), "cli.md": cli()}
    found = {FOLDER / name: text for name, text in pages.items()}
    for name, schema in schemas().items():
        found[FOLDER / "schemas" / f"{name}.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return found


def main() -> int:
    """Write what differs; remove what is no longer made."""
    wanted = generated()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for path in FOLDER.rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()
            print(f"removed {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
