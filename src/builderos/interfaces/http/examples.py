"""One example of the input of every operation, as the documentation shows it. Tests hold them against the schemas."""

from typing import Any, Final

_ID: Final = "01JD3W6Q8Z5V2N7X4K9T0M1R3B"
_SANDBOX: Final = f"sbx_{_ID}"
_SHA: Final = "5f3b9c0e6d1a4b7f8c2e9d0a1b3c5d7e9f0a2b4c"
_HERE: Final[dict[str, Any]] = {"repo_name": "ai-builder-lab", "branch": "sandbox-golden-otter"}
_KEY: Final[dict[str, Any]] = {"idempotency_key": "9c1f6f0e-2a51-4a8e-9d57-0a4f7b6f5c11"}
_POLICY: Final = """\
version: 1
rules:
  - {id: no-env, scope: {project: "*"}, deny: {paths: ["**/.env"]}}
"""
_PROJECT: Final[dict[str, Any]] = {
    **_HERE,
    "project_name": "Support bot",
    "project_description": "Answers the questions our customers ask most.",
    "goals": ["Answer nine of ten questions without a person"],
}

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "initSandbox": {"mode": "branch", "repo_name": "ai-builder-lab"},
    "initBranch": {"repo_name": "ai-builder-lab"},
    "getStarted": {"repo_name": "ai-builder-lab"},
    "initProject": _PROJECT,
    "commit_and_log": {
        **_HERE, **_KEY, "message": "Add parser", "task_id": "2.1_parser",
        "files": [{"path": "src/parser.py", "content": "def parse(text):\n    return text.split()\n"}],
    },
    "fetchFiles": {**_HERE, "mode": "batch", "paths": ["README.md", "src/parser.py"]},
    "gitLog": {**_HERE, "limit": 20},
    "gitDiff": {**_HERE, "against": "main"},
    "rollback": {**_HERE, **_KEY, "commit_sha": _SHA, "reason": "The parser loses empty lines."},
    "promote": {**_HERE, **_KEY, "target": "main", "mode": "pr", "title": "A parser for questions"},
    "createBackup": {**_HERE, **_KEY, "scope": "branch"},
    "listBackups": {**_HERE, "limit": 20},
    "getBackups": {**_HERE, "limit": 20},
    "restoreBackup": {**_HERE, **_KEY, "id": f"bak_{_ID}"},
    "taskLifecycle": {
        **_HERE, **_KEY, "action": "create", "task_id": "2.1_parser", "title": "Parse questions", "phase": "2",
        "outputs": ["src/parser.py"],
    },
    "completeTask": {
        **_HERE, **_KEY, "task_id": "2.1_parser", "outputs": ["src/parser.py"], "reasoning": "Tests pass.",
    },
    "handoff": {
        **_HERE, **_KEY, "action": "append", "task_id": "2.1_parser", "to": "tester", "reason": "Ready for a look.",
        "next_prompt": "Try ten real questions.", "reference_files": ["src/parser.py"],
    },
    "logReasoning": {**_HERE, **_KEY, "task_id": "2.1_parser", "kind": "decision", "text": "Split at white space."},
    "taskQuery": {**_HERE, "mode": "list", "status": "ready"},
    "memoryQuery": {**_HERE, "mode": "search", "query": "parser", "k": 5},
    "memoryManage": {**_HERE, **_KEY, "action": "add", "path": "src/parser.py", "description": "Splits questions."},
    "commitAndLogOutput": {
        **_HERE, "message": "Add parser", "task_id": "2.1_parser", "file_path": "src/parser.py", "content": "x = 1\n",
        "committed_by": "builder",
    },
    "protectRepo": {"id": f"repo_{_ID}", "dry_run": True},
    "systemMetrics": {**_HERE, "mode": "summary"},
    "listActions": {"group": "tasks"},
    "getActions": {"group": "tasks"},
    "createOrg": {**_KEY, "slug": "acme", "name": "Acme", "owner_email": "ann@acme.example"},
    "listMembers": {},
    "changeMember": {**_KEY, "id": f"usr_{_ID}", "role": "reviewer"},
    "removeMember": {"id": f"usr_{_ID}"},
    "createServiceAccount": {**_KEY, "label": "nightly build", "role": "builder"},
    "createInvite": {**_KEY, "email": "ben@acme.example", "role": "reviewer"},
    "listInvites": {},
    "revokeInvite": {"id": f"inv_{_ID}"},
    "acceptInvite": {"name": "Ben"},
    "createToken": {**_KEY, "label": "my laptop", "scopes": ["read", "write"]},
    "listTokens": {},
    "revokeToken": {"id": f"crd_{_ID}"},
    "getMe": {},
    "getPermissions": {"object": f"repo_{_ID}"},
    "listSessions": {},
    "endSession": {"id": f"ses_{_ID}"},
    "createRepo": {"name": "ai-builder-lab", "owner": "acme"},
    "listRepos": {"limit": 20},
    "getRepo": {"id": f"repo_{_ID}"},
    "createDevBranch": {"id": f"repo_{_ID}", "branch": "dev-parser"},
    "importRepo": {"source": "https://example.com/acme/ai-builder-lab.git", "name": "ai-builder-lab"},
    "listSandboxes": {"repo_name": "ai-builder-lab", "state": "active", "limit": 20},
    "getSandbox": {"id": _SANDBOX},
    "deleteSandbox": {"id": _SANDBOX},
    "archiveSandbox": {"id": _SANDBOX},
    "changeToken": {"id": _SANDBOX, "action": "rotate"},
    "resetSandbox": {"id": _SANDBOX, "to": "main", "reason": "Start over."},
    "updateSandbox": {"id": _SANDBOX},
    "shareSandbox": {"id": _SANDBOX},
    "viewShared": {"share_token": "bos_sh_" + "0" * 43},
    "revokeShare": {"id": f"shr_{_ID}"},
    "listPulls": {"repo_name": "ai-builder-lab", "state": "open", "limit": 20},
    "getPull": {"id": f"pul_{_ID}"},
    "reviewPull": {"id": f"pul_{_ID}", "verdict": "approve", "comment": "Reads well."},
    "mergePull": {"id": f"pul_{_ID}"},
    "getPolicy": {},
    "proposePolicy": {"content": _POLICY, "reason": "Keep environment files out.", "dry_run": True},
    "explainPolicy": {"action": "files.write", "project": "ai-builder-lab", "paths": ["conf/.env"], "content": _POLICY},
    "simulatePolicy": {"questions": [{"action": "git.push", "paths": ["src/parser.py"], "expect": "allow"}]},
    "diffPolicy": {"content": _POLICY, "days": 7},
    "listApprovals": {"state": "pending", "limit": 20},
    "getApproval": {"id": f"apr_{_ID}"},
    "decideApproval": {"id": f"apr_{_ID}", "decision": "approve", "comment": "Checked with the team."},
    "searchAudit": {"type": "commit.created", "limit": 20},
    "exportAudit": {"format": "jsonl"},
    "verifyAudit": {},
    "getCheckpoint": {},
    "makeCheckpoint": {},
    "proveLine": {"seq": 7, "with_line": True},
    "proveGrowth": {"from": 7},
    "getProvenance": {"id": "3f786850e387550fdab836ed7e6dc881de23001b"},
    "attestCommit": {"id": "3f786850e387550fdab836ed7e6dc881de23001b"},
    "explainLine": {"repo_name": "ai-builder-lab", "branch": "main", "path": "src/a.py", "line": 3},
    "runDoctor": {"fix": False},
    "createKey": {"label": "nightly import", "scopes": ["read"]},
    "listKeys": {},
    "revokeKey": {"id": f"crd_{_ID}"},
    "listAlerts": {"state": "open", "limit": 20},
    "ackAlert": {"id": f"alt_{_ID}", "resolve": False},
}  # fmt: skip
