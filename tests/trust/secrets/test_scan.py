"""Every form of credential is found, whatever stands around it."""

import pytest

from builderos.trust.secrets.scan import Finding, redact, scan

LONG = "a1B2c3D4e5F6g7H8i9J0" * 5
FORMS = [
    ("private key", "-----BEGIN " + "PRIVATE KEY-----"),
    ("private key", "-----BEGIN OPENSSH " + "PRIVATE KEY-----"),
    *(("BuilderOS token", f"bos_{kind}_{LONG[:43]}") for kind in ("rt", "ow", "ak", "sh", "pt", "sa", "at", "cs")),
    *(("GitHub token", f"gh{kind}_{LONG[:36]}") for kind in "pousr"),
    ("GitHub token", f"github_pat_{LONG[:82]}"),
    *(("GitLab token", f"gl{kind}-{LONG[:20]}") for kind in ("pat", "ptt", "rt")),
    *(("AWS access key", f"{kind}{LONG.upper()[:16]}") for kind in ("AKIA", "ASIA")),
    ("Google API key", f"AIza{LONG[:35]}"),
    *(("Slack token", f"xox{kind}-{LONG[:12]}") for kind in "abprs"),
    *(("Stripe key", f"{kind}k_live_{LONG[:24]}") for kind in "rs"),
    ("OpenAI key", f"sk-{LONG[:48]}"),
    ("OpenAI key", f"sk-proj-{LONG[:48]}"),
    ("npm token", f"npm_{LONG[:36]}"),
    ("PyPI token", f"pypi-{LONG[:60]}"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), FORMS, ids=lambda value: value[:14])
def test_a_credential_is_found_with_its_line_and_removed(kind: str, text: str) -> None:
    assert list(scan(f"one\ntwo {text} three\n".encode())) == [Finding(kind, 2)]
    assert redact(f"two {text} three") == f"two [{kind} removed] three"


def test_text_without_a_credential_stays_as_it_is() -> None:
    assert list(scan(b"task-1 asks for a boss\n" * 100)) == []
    assert redact("task-1 asks for ü") == "task-1 asks for ü"
