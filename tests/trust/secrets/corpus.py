"""Credentials and what only looks like them, made anew from a seed: nothing here opens anything."""

import base64
import hashlib
import json
import random
import re._parser as grammar  # type: ignore[import-not-found]
import string
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builderos.trust.secrets.rules import RULES, Rule, base62

ALNUM = string.ascii_letters + string.digits
NAMES = (
    "DB_PASSWORD",
    "api_key",
    "clientSecret",
    "auth-token",
    "SIGNING_KEY",
    "smtp.passwd",
    "access_key",
    "apiKey",
)
FRAMES = (
    "{name}={value}\n", "export {name}='{value}'\n", '{name} = "{value}"\n', '  "{name}": "{value}",\n',
    "{name}: {value}\n",
    "const {name} = `{value}`;\n", '{name} => "{value}"\n', "<{name}>{value}</{name}>\n", '{name}: Final = "{value}"\n',
    'settings["{name}"] = "{value}"\n', '{name} := "{value}"\n', "{{\\\"{name}\\\": \\\"{value}\\\"}}\n",
)  # fmt: skip
AROUND = (
    "{}",
    'key = "{}"',
    "curl -H 'X-Key: {}' https://api.acme.io",
    "- {}  # prod",
    '{{"k":"{}"}}',
    "https://x.acme.io/?k={}&v=1",
)


def credential(rng: random.Random, rule: Rule) -> str:
    """One that `rule` describes, with the checksum or the claims that its issuer would give it."""
    if rule.id == "private-key":
        body = "\n".join(_of(rng, ALNUM + "+/", 64) for _ in range(12))
        kind = rng.choice(("", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "))
        return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"
    if rule.id in ("github-token", "npm-token"):
        body = _of(rng, ALNUM, 30)
        prefix = "npm_" if rule.id == "npm-token" else f"gh{rng.choice('pousr')}_"
        return prefix + body + base62(zlib.crc32(body.encode()))
    if rule.id == "jwt":
        claims = {"sub": _of(rng, ALNUM, 12), "exp": 4_000_000_000}
        return f"{_json64({'alg': 'HS256'})}.{_json64(claims)}.{_of(rng, ALNUM, 43)}"
    return _from(rng, grammar.parse(rule.form))


def _from(rng: random.Random, tree: Any) -> str:
    """A text that a parsed expression describes."""
    out: list[str] = []
    for op, value in tree:
        kind = str(op)
        if kind == "LITERAL":
            out.append(chr(value))
        elif kind == "IN":
            out.append(rng.choice([c for item in value for c in _class(item)]))
        elif kind == "MAX_REPEAT":
            least, most, inner = value
            for _ in range(rng.randint(least, min(int(most), least + 8))):
                out += _from(rng, inner)
        elif kind == "SUBPATTERN":
            out.append(_from(rng, value[-1]))
        elif kind == "BRANCH":
            out.append(_from(rng, rng.choice(value[1])))
        else:
            assert kind == "AT", kind
    return "".join(out)


def _class(item: Any) -> list[str]:
    if str(item[0]) == "LITERAL":
        return [chr(item[1])]
    if str(item[0]) == "CATEGORY":
        return list(ALNUM + "_")
    first, last = item[1]
    return [chr(code) for code in range(first, last + 1)]


def _of(rng: random.Random, alphabet: str, size: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(size))


def _json64(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def published(seed: int = 1, each: int = 20) -> Iterator[tuple[str, str, str]]:
    """(rule, credential, file) for every published form."""
    rng = random.Random(seed)
    for rule in RULES:
        for number in range(each):
            found = credential(rng, rule)
            yield rule.id, found, f"# settings\n{AROUND[number % len(AROUND)].format(found)}\n"


def random_values(seed: int = 2, count: int = 400) -> Iterator[tuple[str, str, str]]:
    """Values that a generator of passwords or keys makes, behind names that say what they are."""
    rng = random.Random(seed)
    alphabets = (ALNUM, ALNUM + "-_", ALNUM + "!@#%^&*", ALNUM + "+/", "0123456789abcdef")
    for number in range(count):
        alphabet = alphabets[number % len(alphabets)]
        size = rng.choice((32, 40, 64)) if alphabet.startswith("0123456789abcdef") else rng.randint(20, 48)
        value = _of(rng, alphabet, size)
        yield "assigned-secret", value, rng.choice(FRAMES).format(name=rng.choice(NAMES), value=value)


def addresses(seed: int = 3, count: int = 60) -> Iterator[tuple[str, str, str]]:
    """Passwords in addresses of databases, queues and registries; Authorization headers."""
    rng = random.Random(seed)
    for number in range(count):
        value = _of(rng, ALNUM, rng.randint(10, 24))
        if number % 3:
            scheme = rng.choice(
                ("postgres", "postgresql+psycopg", "redis", "amqps", "mongodb+srv", "https", "mysql")
            )
            yield "address-password", value, f'URL = "{scheme}://svc:{value}@db{number}.acme.io:5432/main"\n'
        else:
            value = base64.b64encode(f"svc:{value}-{number}".encode()).decode()
            yield "authorization-header", value, f'-H "Authorization: Basic {value}"\n'


def harmless(seed: int = 4) -> Iterator[tuple[str, str]]:
    """(path, content) of files that look dangerous and are not: what most of a repository's noise consists of."""
    rng = random.Random(seed)
    some = hashlib.sha256(b"seed")

    def digest(size: int = 64) -> str:
        some.update(b".")
        return some.hexdigest()[:size]

    def blob(size: int) -> str:
        return base64.b64encode(rng.randbytes(size)).decode()

    for _ in range(10):
        yield (
            "package-lock.json",
            f'"integrity": "sha512-{blob(64)}", "resolved": "https://registry.acme.io/a-1.2.3.tgz"\n',
        )
        yield "poetry.lock", f'{{file = "a.whl", hash = "sha256:{digest()}"}},\ncontent-hash = "{digest()}"\n'
        yield "go.sum", f"golang.org/x/crypto v0.1.0 h1:{blob(32)}\n"
        yield (
            "ids.yaml",
            f"id: {uuid.UUID(bytes=rng.randbytes(16))}\ntoken: {uuid.UUID(hex=digest(32))}\nsha: {digest(40)}\n",
        )
        yield "logo.html", f'<img src="data:image/png;base64,{blob(3000)}">\n'
        yield "style.css", f"src: url(data:font/woff2;base64,{blob(2000)}) format('woff2');\n"
        yield (
            "cert.pem",
            f"-----BEGIN CERTIFICATE-----\n{blob(600)}\n-----BEGIN PUBLIC KEY-----\n{blob(200)}\n",
        )
        yield "users.sql", f"insert into u values ('ann', 'password_hash', '$2b$12${_of(rng, ALNUM, 53)}');\n"
        yield (
            "hashes.py",
            f'TOKEN_HASH = "{digest()}"\nsecret_sha256 = "{digest()}"\npassword_digest: "{digest(32)}"\n',
        )
        yield (
            "ssh.pub",
            f'ssh-ed25519 {blob(51)} ann@acme\nssh-rsa {blob(279)} ben\npublic_key = "{blob(32)}"\n',
        )
        yield (
            "app.min.js",
            f'!function(e,t){{e.token=t.getToken("x{digest(2)}"),n.secret=r?o.secret:i}}(a,b);var k="{digest(20)}";\n',
        )
        yield (
            "expired.txt",
            f"{_json64({'alg': 'HS256'})}.{_json64({'sub': 'x', 'exp': 1_600_000_000})}.{_of(rng, ALNUM, 43)}\n",
        )
        yield (
            "near.txt",
            f"ghp_{_of(rng, ALNUM, 36)} npm_{_of(rng, ALNUM, 36)} AKIA{_of(rng, ALNUM, 12)} sk-{_of(rng, ALNUM, 30)}\n",
        )
    yield from _written()


def _written() -> Iterator[tuple[str, str]]:
    """What people write about credentials without writing any."""
    for line in (Path(__file__).parent / "harmless.txt").read_text("utf-8").splitlines():
        yield "notes.md", line + "\n"
