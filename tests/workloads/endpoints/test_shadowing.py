"""When a shadow has answered as what the caller got."""

import pytest

from builderos.workloads.endpoints.schema import moved
from builderos.workloads.endpoints.service import same


@pytest.mark.parametrize(
    ("given", "unheard", "is_same"),
    [
        (b'{"predictions": [1, 2.0]}', b'{"predictions": [1.0, 2.0000001]}', True),
        (b'{"predictions": [1, 2.0]}', b'{"predictions": [1, 2.1]}', False),
        (b'{"predictions": [1]}', b'{"predictions": [1, 1]}', False),
        (b'{"predictions": [true]}', b'{"predictions": [1]}', False),
        (b'{"predictions": ["a"]}', b'{"predictions": ["a"]}', True),
        (b'{"model_version": "1", "outputs": []}', b'{"model_version": "2", "outputs": []}', True),
        (b'{"predictions": []}', b"no document", False),
        (b"[[[1]]]", b"[" * 100_000, False),
    ],
    ids=["near", "far", "longer", "no number", "a text", "another version", "no document", "a deep one"],
)
def test_answers_are_the_same_where_they_say_the_same(given: bytes, unheard: bytes, *, is_same: bool) -> None:
    assert same(given, unheard) is is_same


@pytest.mark.parametrize(
    "told",
    [
        b"{",
        b'{"columns": [{"column": "x", "psi": -1}]}',
        b'{"columns": [{"column": "x", "psi": 1e9}]}',
        b"[]",
    ],
    ids=["no document", "below nothing", "beyond all", "a list"],
)
def test_what_a_process_tells_of_drift_is_not_believed_when_it_cannot_be(told: bytes) -> None:
    assert moved(told) is None
