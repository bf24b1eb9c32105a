"""An export of the ledger is checked without a server; every change of a byte is found and its line named."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builderos.client.export import verify_file, verify_rows

ORG = "org_01HZZZZZZZZZZZZZZZZZZZZZZZ"


def written(count: int, org: str = ORG, first: int = 1) -> list[str]:
    """An export of `count` lines as the server writes it."""
    previous = hashlib.sha256(org.encode()).digest()
    rows: list[str] = []
    seq, hash_ = 0, previous
    for seq in range(1, first + count):
        body = json.dumps(
            {"type": "commit", "object": f"sha {seq} é", "payload": {"n": seq}}, ensure_ascii=False
        )
        hash_ = hashlib.sha256(previous + seq.to_bytes(8, "big") + body.encode()).digest()
        row = {"seq": seq, "org_id": org, "body": body, "prev_hash": previous.hex(), "hash": hash_.hex()}
        rows.append(json.dumps(row, ensure_ascii=False) + "\n")
        previous = hash_
    rows = rows[first - 1 :]
    return [*rows, json.dumps({"head": {"org_id": org, "seq": seq, "hash": hash_.hex()}}) + "\n"]


def changed(rows: list[str], index: int, **members: Any) -> list[str]:
    row = json.loads(rows[index]) | members
    return [*rows[:index], json.dumps(row, ensure_ascii=False) + "\n", *rows[index + 1 :]]


def test_what_the_server_wrote_verifies(tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    file.write_text("".join(written(40)), "utf-8")
    verdict = verify_file(str(file))
    assert (verdict["ok"], verdict["lines"], verdict["first_bad"], verdict["head"]["seq"]) == (
        True,
        40,
        None,
        40,
    )


def test_an_export_without_lines_verifies() -> None:
    assert verify_rows(written(0)) | {"head": None} == {
        "ok": True, "lines": 0, "first_bad": None, "reason": "", "head": None,
    }  # fmt: skip


def test_an_export_whose_beginning_was_cut_off_does_not_verify() -> None:
    for rows in (written(10, first=31), written(10)[1:]):
        verdict = verify_rows(rows)
        assert (verdict["ok"], verdict["first_bad"]) == (False, 1)


def test_a_member_that_stands_twice_is_named() -> None:
    rows = written(3)
    rows[1] = rows[1].replace('"body":', '"body": "forged", "body":', 1)
    verdict = verify_rows(rows)
    assert (verdict["ok"], verdict["first_bad"]) == (False, 2)


def test_a_changed_body_is_named() -> None:
    rows = written(9)
    body = json.loads(rows[4])["body"].replace('"n": 5', '"n": 6')
    verdict = verify_rows(changed(rows, 4, body=body))
    assert (verdict["ok"], verdict["first_bad"], verdict["lines"]) == (False, 5, 4)
    assert "line 5 was changed" in verdict["reason"]


def test_a_line_that_was_changed_with_its_hash_breaks_the_next_one() -> None:
    rows = written(9)
    row = json.loads(rows[4])
    body = row["body"].replace("commit", "nothing")
    hash_ = hashlib.sha256(
        bytes.fromhex(row["prev_hash"]) + (5).to_bytes(8, "big") + body.encode()
    ).hexdigest()
    assert verify_rows(changed(rows, 4, body=body, hash=hash_))["first_bad"] == 6


@pytest.mark.parametrize(
    ("damage", "first_bad"),
    [
        (lambda rows: rows[:3] + rows[4:], 4),
        (lambda rows: [*rows[:2], rows[3], rows[2], *rows[4:]], 3),
        (lambda rows: [*rows[:3], rows[2], *rows[3:]], 4),
        (lambda rows: rows[:-1], 10),
        (lambda rows: rows[:-2] + rows[-1:], 9),
        (lambda rows: [*rows, rows[0]], 10),
        (lambda rows: [*rows[:2], "no json\n", *rows[3:]], 3),
        (lambda rows: [*rows[:2], "[]\n", *rows[3:]], 3),
        (lambda rows: [*rows[:2], "{}\n", *rows[3:]], 3),
        (lambda rows: changed(rows, 0, prev_hash="00" * 32), 1),
        (lambda rows: changed(rows, 2, prev_hash="00" * 32), 3),
        (lambda rows: changed(rows, 2, hash="zz"), 3),
        (lambda rows: changed(rows, 2, hash=None), 3),
        (lambda rows: changed(rows, 2, seq=True), 3),
        (lambda rows: changed(rows, 2, org_id="org_other"), 3),
        (lambda rows: [*rows[:-1], json.dumps({"head": {"seq": 9, "hash": "00" * 32}})], 10),
        (lambda rows: [*rows[:-1], json.dumps({"head": 3})], 10),
    ],
)  # fmt: skip
def test_a_damaged_export_names_the_first_line_that_does_not_fit(damage: Any, first_bad: int) -> None:
    verdict = verify_rows(damage(written(9)))
    assert (verdict["ok"], verdict["first_bad"]) == (False, first_bad), verdict
    assert verdict["reason"]


@given(st.data())
def test_no_changed_character_of_a_line_goes_unnoticed(data: st.DataObject) -> None:
    rows = written(6)
    index = data.draw(st.integers(0, 5))
    at = data.draw(st.integers(0, len(rows[index]) - 2))
    new = data.draw(st.characters(min_codepoint=32, max_codepoint=126))
    meant = json.loads(rows[index])
    text = rows[index][:at] + new + rows[index][at + 1 :]
    verdict = verify_rows([*rows[:index], text, *rows[index + 1 :]])
    try:
        same = json.loads(text) == meant
        same = same or _hashes_in_capitals(json.loads(text), meant)
    except ValueError:
        same = False
    assert verdict["ok"] is same
    if not same:
        assert verdict["first_bad"] == index + 1


def _hashes_in_capitals(found: Any, meant: dict[str, Any]) -> bool:
    """The same value in other letters is no change: hexadecimal does not care."""
    names = ("hash", "prev_hash")
    return isinstance(found, dict) and {**found, **{n: str(found.get(n)).lower() for n in names}} == meant
