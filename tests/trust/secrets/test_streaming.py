"""Taking credentials out of a stream: however it is cut, the output is that of the whole."""

import os
import random
import time

import pytest

from builderos.trust.secrets.redactor import REMOVED, Redactor
from builderos.trust.secrets.rules import RULES
from builderos.trust.secrets.scan import redact_bytes
from builderos.trust.secrets.streaming import Cleaner, Forms

from .corpus import credential

KNOWN = b"swordfish-42/deep"


def _fed(cleaner: Cleaner | Forms, data: bytes, rng: random.Random, longest: int) -> bytes:
    out, at = [], 0
    while at < len(data):
        size = rng.randint(1, longest)
        out.append(cleaner.feed(data[at : at + size]))
        at += size
    return b"".join([*out, cleaner.end()])


@pytest.mark.parametrize("seed", range(6))
def test_every_form_is_taken_out_however_the_stream_is_cut(seed: int) -> None:
    rng = random.Random(seed)
    lines: list[bytes] = []
    for rule in RULES:
        lines += [f"{rule.id}: {credential(rng, rule)}".encode(), b"nothing here\x1b[0m", rng.randbytes(40)]
    rng.shuffle(lines)
    whole = b"\n".join(lines)
    expected = redact_bytes(whole)
    assert expected != whole
    for longest in (1, 7, 100, 5000):
        assert _fed(Forms(), whole, rng, longest) == expected


def test_a_known_value_and_a_form_are_both_taken_out_across_pieces() -> None:
    rng = random.Random(4)
    token = credential(rng, next(rule for rule in RULES if rule.id == "github-token")).encode()
    whole = b"a " + KNOWN + b" b " + token + b" c\n"
    out = _fed(Cleaner(Redactor([KNOWN])), whole, rng, 3)
    assert KNOWN not in out
    assert token not in out
    assert out == redact_bytes(Redactor([KNOWN]).clean(whole))
    assert REMOVED.encode() in out


def test_a_finished_line_does_not_wait_for_the_next_one() -> None:
    cleaner = Cleaner(Redactor([KNOWN, random.Random(7).randbytes(4000)]))
    assert cleaner.feed(b"waiting for the database\n") == b"waiting for the database\n"
    assert cleaner.feed(b"progress 45%\r") == b"progress 45%\r"


def test_the_beginning_of_a_secret_waits_until_it_is_one_or_is_none() -> None:
    cleaner = Cleaner(Redactor([KNOWN]))
    assert cleaner.feed(b"is it " + KNOWN[:9]) == b"is it "
    assert cleaner.feed(b"ers are fish\n") == KNOWN[:9] + b"ers are fish\n"
    assert cleaner.feed(b"is it " + KNOWN[:9]) == b"is it "
    assert cleaner.feed(KNOWN[9:] + b"\n") == REMOVED.encode() + b"\n"


def test_a_key_that_never_ends_holds_the_rest_back_for_a_while_only() -> None:
    forms = Forms()
    begin = b"-----BEGIN RSA PRIVATE KEY-----\n"
    assert forms.feed(begin) == b""
    out = b"".join(forms.feed(b"x" * 99 + b"\n") for _ in range(400))
    assert out.startswith(b"[private key removed]\nxxx")
    assert len(out) > 20_000


def test_an_endless_word_is_given_out_in_pieces_that_cut_no_credential() -> None:
    rng = random.Random(5)
    token = credential(rng, next(rule for rule in RULES if rule.id == "slack-token")).encode()
    for before in range(30_000, 36_000, 977):
        whole = b"A" * before + b"/" + token + b"/" + b"A" * 40_000
        forms = Forms()
        out = forms.feed(whole[:40_000])
        assert out
        out += forms.feed(whole[40_000:]) + forms.end()
        assert token not in out
        assert out == redact_bytes(whole)


def test_single_bytes_cost_no_more_than_their_number() -> None:
    cleaner = Cleaner(Redactor([os.urandom(200) for _ in range(20)]))
    data = b"nothing to see here, move on\n" * 700
    start = time.thread_time()
    assert b"".join(cleaner.feed(data[i : i + 1]) for i in range(len(data))) + cleaner.end() == data
    assert time.thread_time() - start < 20
