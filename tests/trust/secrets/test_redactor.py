"""Known secrets are taken out of every text and stream, in every form in which programs print them."""

import base64
import html
import json
import os
import re
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builderos.trust.secrets.redactor import REMOVED, SHORTEST, Redactor, forms
from tests.support.costs import cpu_s

VALUE = 's3cr3t/Va+lue "quoted" & <ü>\n-second-line-of-it'
PLAIN = "k9-Zt7_Qw3xPv"

PRINTED = {
    "plain": lambda v: v,
    "base64": lambda v: base64.b64encode(v.encode()).decode(),
    "base64 for URLs": lambda v: base64.urlsafe_b64encode(v.encode()).decode(),
    "behind a user": lambda v: base64.b64encode(b"user:" + v.encode()).decode(),
    "behind two bytes": lambda v: base64.b64encode(b"u:" + v.encode() + b"tail").decode(),
    "hex": lambda v: v.encode().hex(),
    "HEX": lambda v: v.encode().hex().upper(),
    "url": lambda v: quote(v, safe=""),
    "url in lower case": lambda v: re.sub("%..", lambda found: found[0].lower(), quote(v, safe="")),
    "form": quote_plus,
    "json": lambda v: json.dumps({"key": v}),
    "json in json": lambda v: json.dumps(json.dumps({"key": v})),
    "json without escapes": lambda v: json.dumps({"key": v}, ensure_ascii=False),
    "html": html.escape,
    "python": repr,
}


def spilled(value: str, text: str) -> bool:
    """Whether any half of the value can be read in the text, in any simple form."""
    halves = [value[:8], value[-8:]] if len(value) > 8 else [value]
    simple = (lambda v: v, lambda v: v.encode().hex(), lambda v: quote(v, safe=""))
    return any(form(half) in text for half in halves for form in simple)


@pytest.mark.parametrize("form", PRINTED)
@pytest.mark.parametrize("value", [PLAIN, "pa/ss+wo=rd&?%", VALUE])
def test_a_secret_is_taken_out_in_every_form(form: str, value: str) -> None:
    text = f"before {PRINTED[form](value)} after"
    cleaned = Redactor([value.encode()]).text(text)
    assert REMOVED in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")
    assert not spilled(value, cleaned), cleaned


@pytest.mark.parametrize("before", range(7))
def test_base64_is_found_at_any_place_of_a_longer_text(before: int) -> None:
    whole = base64.b64encode(os.urandom(before) + PLAIN.encode() + os.urandom(5)).decode()
    cleaned = Redactor([PLAIN.encode()]).text(whole)
    assert REMOVED in cleaned
    assert len(cleaned.replace(REMOVED, "")) < len(whole) - len(PLAIN)


def test_a_line_of_a_key_is_taken_out_alone() -> None:
    key = "-----BEGIN PRIVATE " + "KEY-----\n" + "\n".join(os.urandom(48).hex()[:64] for _ in range(5))
    assert Redactor([key.encode()]).text(key.splitlines()[3]) == REMOVED


def test_what_is_too_short_would_be_in_every_text_and_stays() -> None:
    assert forms(b"a" * (SHORTEST - 1)) == {
        form for form in forms(b"a" * (SHORTEST - 1)) if len(form) >= SHORTEST
    }
    assert Redactor([b"abc"]).text("abcdef abc") == "abcdef abc"
    assert not Redactor([])
    assert Redactor([]).text("as it is") == "as it is"


def test_names_and_values_of_json_are_cleaned_and_nothing_else() -> None:
    redactor = Redactor([PLAIN.encode()])
    found = redactor.json({"a": [f"x{PLAIN}", 1, None, True], PLAIN: 1.5})
    assert found == {"a": [f"x{REMOVED}", 1, None, True], REMOVED: 1.5}


def test_text_that_is_no_unicode_goes_through() -> None:
    redactor = Redactor([PLAIN.encode()])
    assert redactor.text(f"\ud800{PLAIN}\udfff") == f"\ud800{REMOVED}\udfff"
    assert redactor.clean(b"\xff\0" + PLAIN.encode() + b"\xfe") == b"\xff\0" + REMOVED.encode() + b"\xfe"


letters = st.binary(min_size=SHORTEST, max_size=12) | st.text("ab", min_size=SHORTEST, max_size=9).map(
    str.encode
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_however_a_stream_is_cut_the_output_is_that_of_the_whole(data: st.DataObject) -> None:
    values = data.draw(st.lists(letters, min_size=1, max_size=4))
    printed = [form for value in values for form in sorted(forms(value))]
    noise = st.binary(max_size=20) | st.text("ab", max_size=20).map(str.encode)
    whole = b"".join(data.draw(st.lists(noise | st.sampled_from(printed), max_size=12)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    redactor = Redactor(values)
    stream = redactor.stream()
    parts = [
        stream.feed(whole[start:end]) for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)
    ]
    out = b"".join(parts) + stream.end()
    assert out == redactor.clean(whole)
    kept = out.split(REMOVED.encode())
    assert not any(form in part for part in kept for form in printed)
    covered = {i for start, end in redactor.spans(whole) for i in range(start, end)}
    assert b"".join(kept) == bytes(byte for i, byte in enumerate(whole) if i not in covered)


def test_a_stream_holds_back_no_more_than_the_longest_form() -> None:
    redactor = Redactor([PLAIN.encode()])
    stream = redactor.stream()
    fed = given_out = 0
    for _ in range(200):
        fed += 1000
        given_out += len(stream.feed(b"x" * 1000))
        assert fed - given_out < redactor.longest
    endless = redactor.stream()
    out = b"".join(endless.feed(PLAIN.encode()) for _ in range(2000))
    assert out + endless.end() == REMOVED.encode()
    assert len(endless._held) == 0


def test_a_stream_cut_into_single_bytes_costs_no_more_than_its_length() -> None:
    redactor = Redactor([os.urandom(200) for _ in range(20)])
    data = os.urandom(20_000)
    start = time.thread_time()
    stream = redactor.stream()
    out = b"".join(stream.feed(data[i : i + 1]) for i in range(len(data))) + stream.end()
    assert out == data
    assert time.thread_time() - start < 20


def test_a_thousand_secrets_cost_hardly_more_than_ten() -> None:
    text = base64.b64encode(os.urandom(150_000)).decode()

    def cost(count: int) -> float:
        redactor = Redactor([os.urandom(24).hex().encode() for _ in range(count)])
        assert redactor.text(text) == text
        return cpu_s(lambda: redactor.text(text))

    assert cost(1000) < max(12 * cost(10), 0.2)
