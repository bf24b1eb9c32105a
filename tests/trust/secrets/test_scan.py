"""Every form of credential is found, whatever stands around it; what only looks like one is not; nothing is slow."""

import functools
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builderos.trust.secrets.rules import RULES
from builderos.trust.secrets.scan import MAX_FINDINGS, redact, redacted, scan
from tests.support.costs import cpu_s

from . import corpus

ROOT = Path(__file__).parents[3]
KEY = "bos_rt_" + "a1B2c3D4e5F6g7H8i9J0" * 2 + "a1B"


@functools.cache
def sure() -> list[tuple[str, str, str]]:
    return list(corpus.published())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_published_form_is_found_with_its_place_and_taken_out_of_text(rule: object) -> None:
    for name, secret, text in sure():
        if name != rule.id:  # type: ignore[attr-defined]
            continue
        (found,) = scan(text.encode())
        assert (found.rule, found.line) == (name, 2), text
        assert text.encode()[found.start : found.end].startswith(secret.encode()[:20])
        assert secret not in redact(text)
        assert secret[12:] not in found.preview


def test_of_values_that_look_random_behind_names_that_say_secret_hardly_any_is_missed() -> None:
    samples = [*corpus.random_values(), *corpus.addresses()]
    missed = [text for rule, _, text in samples if rule not in {f.rule for f in scan(text.encode())}]
    assert len(missed) <= 0.06 * len(samples), missed


def test_what_only_looks_like_a_credential_is_left_alone() -> None:
    wrong = [
        (path, f.preview, text[:100]) for path, text in corpus.harmless() for f in scan(text.encode(), path)
    ]
    assert wrong == []


def test_nothing_is_found_in_the_files_of_this_project() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    wrong = [
        (name, f.line, f.preview)
        for name in filter(None, listed.decode().split("\0"))
        if (ROOT / name).is_file()
        for f in scan((ROOT / name).read_bytes(), name)
    ]
    assert wrong == []


def test_a_checksum_that_does_not_fit_is_no_token() -> None:
    secret = next(text for name, text, _ in sure() if name == "github-token")
    assert scan(secret.encode())
    assert not scan((secret[:-1] + ("a" if secret[-1] != "a" else "b")).encode())


def test_a_private_key_is_taken_out_whole() -> None:
    secret = next(text for name, text, _ in sure() if name == "private-key")
    assert redact(f"before\n{secret}\nafter") == "before\n[private key removed]\nafter"
    escaped = secret.replace("\n", "\\n")
    assert redact(f'{{"k": "{escaped}"}}') == '{"k": "[private key removed]"}'
    assert [f.rule for f in scan(escaped.encode())] == ["private-key"]


def test_a_file_in_utf_16_hides_nothing() -> None:
    assert [f.rule for f in scan(f"one\n{KEY}\n".encode("utf-16"))] == ["builderos-token"]


def test_a_credential_between_bytes_of_a_binary_file_is_found() -> None:
    noise = random.Random(5).randbytes(500)
    assert "builderos-token" in {f.rule for f in scan(noise + b"\0" + KEY.encode() + b"\0" + noise)}


def test_names_and_values_of_json_are_cleaned() -> None:
    assert redacted({"a": [KEY, 1, None], KEY: True}) == {
        "a": ["[BuilderOS token removed]", 1, None], "[BuilderOS token removed]": True,
    }  # fmt: skip


def test_text_without_a_credential_stays_as_it_is() -> None:
    assert scan(b"task-1 asks for a boss\n" * 100) == []
    assert redact("task-1 asks for ü") == "task-1 asks for ü"


@given(st.binary(max_size=300), st.deferred(lambda: st.sampled_from(sure())), st.binary(max_size=300))
def test_a_published_credential_is_found_between_any_bytes(
    before: bytes, sample: tuple[str, str, str], after: bytes
) -> None:
    rule, secret, _ = sample
    assert rule in {f.rule for f in scan(before[:300] + b"\n" + secret.encode() + b"\n" + after)} or before[
        :2
    ] in (
        b"\xff\xfe",
        b"\xfe\xff",
    )


@given(st.text(max_size=200))
def test_any_text_can_be_searched_and_cleaned(text: str) -> None:
    for found in scan(text.encode("utf-8", "surrogatepass")):
        assert 0 <= found.start < found.end
    assert isinstance(redact(text), str)


HOSTILE = {
    "doubts": b"token=aaaaaaaaaaaaaaaaa1 ", "hits": b"token=aB3dE5gH7jK9m" + b"N1pQrS ", "names": b"password",
    "colons": b"token:",
    "addresses": b"a://b:c12@d ", "keys": b"-----BEGIN PRIVATE KEY-----\n", "jwts": b"eyJhbGciOiJIUzI1NiJ9." * 3,
    "endless": b"glpat-", "dashes": b"sk-", "newlines": b"\n", "blanks": b"secret    ",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_makes_the_search_slow(name: str) -> None:
    """Four times the text costs about four times as much, a quarter of a megabyte at most a second."""

    def cost(size: int) -> float:
        data = HOSTILE[name] * (size // len(HOSTILE[name]))
        assert len(scan(data)) <= MAX_FINDINGS
        return cpu_s(lambda: scan(data))

    small, large = cost(1 << 16), cost(1 << 18)
    assert large < max(10 * small, 0.1)
    assert large < 10
