"""Find credentials in text: forms that their issuers publish, so that a hit is a credential and not a guess."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

_RULES: Final[tuple[tuple[str, str], ...]] = (
    ("private key", r"-----BEGIN (?:RSA |EC |DSA |OPENSSH |ENCRYPTED |PGP )?PRIVATE KEY(?: BLOCK)?-----"),
    ("BuilderOS token", r"\bbos_(?:rt|ow|ak|sh|pt|sa|at|cs|in|rf|ml)_[0-9A-Za-z]{43}\b"),
    ("GitHub token", r"\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{82})\b"),
    ("GitLab token", r"\bgl(?:pat|ptt|rt)-[0-9A-Za-z_-]{20,}"),
    ("AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("Google API key", r"\bAIza[0-9A-Za-z_-]{35}\b"),
    ("Slack token", r"\bxox[abprs]-[0-9A-Za-z-]{10,}"),
    ("Stripe key", r"\b[rs]k_live_[0-9A-Za-z]{24,}"),
    ("OpenAI key", r"\bsk-(?:proj-)?[0-9A-Za-z_-]{40,}"),
    ("Anthropic key", r"\bsk-ant-[0-9A-Za-z_-]{40,}"),
    ("npm token", r"\bnpm_[0-9A-Za-z]{36}\b"),
    ("PyPI token", r"\bpypi-[0-9A-Za-z_-]{50,}"),
)
_ANY: Final = re.compile("|".join(f"({pattern})" for _, pattern in _RULES).encode())
# One of these is in every credential. Looking for plain text costs a fiftieth of the search for all forms.
_MARKS: Final = (
    b"-----BEGIN ", b"bos_", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_", b"glpat-", b"glptt-",
    b"glrt-", b"AKIA", b"ASIA", b"AIza", b"xox", b"k_live_", b"sk-", b"npm_", b"pypi-",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """A credential at a place; its text is not kept."""

    kind: str
    line: int


def redact(text: str) -> str:
    """The text with every credential in it replaced by its kind."""

    def kind(match: re.Match[bytes]) -> bytes:
        assert match.lastindex is not None
        return f"[{_RULES[match.lastindex - 1][0]} removed]".encode()

    data = text.encode("utf-8", "surrogatepass")
    return _ANY.sub(kind, data).decode("utf-8", "surrogatepass") if _suspect(data) else text


def redacted(value: Any) -> Any:
    """A JSON value with every credential in its texts replaced, names included."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [redacted(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {redact(str(name)): redacted(item) for name, item in cast("dict[Any, Any]", value).items()}
    return value


def scan(data: bytes) -> Iterator[Finding]:
    """Credentials in a file, with their 1-based lines."""
    if not _suspect(data):
        return
    for match in _ANY.finditer(data):
        assert match.lastindex is not None
        yield Finding(_RULES[match.lastindex - 1][0], data.count(b"\n", 0, match.start()) + 1)


def _suspect(data: bytes) -> bool:
    return any(mark in data for mark in _MARKS)
