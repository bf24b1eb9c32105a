"""The contract tells how a call is written, and is kept between commands."""

import os
from pathlib import Path
from typing import Any

import pytest

from builderos.client import contract
from builderos.client.contract import Contract

DOCUMENT: dict[str, Any] = {
    "paths": {
        "/v1/things/{id}/do": {
            "post": {
                "operationId": "doThing", "summary": "Do it", "tags": ["things"], "x-profile": "standard",
                "x-openai-isConsequential": True,
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Do"}}}},
                "responses": {
                    "200": {"content": {"application/json": {}}}, "4XX": {"content": {"application/problem+json": {}}},
                },
            },
        },
        "/v1/export": {
            "get": {
                "operationId": "export",
                "parameters": [
                    {"name": "n", "in": "query", "schema": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
                ],
                "responses": {"200": {"content": {"application/jsonl": {}, "text/csv": {}}}},
            },
            "parameters": [],
        },
    },
    "components": {
        "schemas": {
            "Do": {
                "required": ["what"],
                "properties": {
                    "what": {"type": "string", "description": "What to do"},
                    "how": {"anyOf": [{"$ref": "#/components/schemas/How"}, {"type": "null"}], "description": "How"},
                },
            },
            "How": {"enum": ["fast", "well"], "type": "string"},
        }
    },
}  # fmt: skip


class Source:
    """A client that counts how often it is asked."""

    def __init__(self, url: str = "http://127.0.0.1:1") -> None:
        self.url = url
        self.asked = 0

    def call(self, method: str, path: str) -> dict[str, Any]:
        assert (method, path) == ("GET", "/openapi.json")
        self.asked += 1
        return DOCUMENT


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_path_and_body_are_one_input() -> None:
    found = Contract(DOCUMENT).operations["doThing"]
    assert set(found.fields) == {"id", "what", "how"}
    assert found.required == {"id", "what"}
    assert found.fields["how"]["enum"] == ["fast", "well"]
    assert found.fields["how"]["description"] == "How"
    assert (found.group, found.profile, found.consequential, found.is_json) == (
        "things",
        "standard",
        True,
        True,
    )


def test_members_of_the_path_are_escaped_and_leave_the_body() -> None:
    found = Contract(DOCUMENT).operations["doThing"]
    assert found.route({"id": "a/../b c", "what": "x"}) == ("/v1/things/a%2F..%2Fb%20c/do", {"what": "x"})


def test_a_reply_of_bytes_is_known_as_such() -> None:
    found = Contract(DOCUMENT).operations["export"]
    assert not found.is_json
    assert found.fields["n"]["type"] == "integer"


def test_the_contract_is_asked_for_once_per_start_of_the_server() -> None:
    source: Any = Source()
    for edition in ("start 1", "start 1", "start 2"):
        assert set(contract.load(source, edition).operations) == {"doThing", "export"}
    assert source.asked == 2


def test_the_contract_of_a_remote_server_is_believed_for_ten_minutes(cache: Path) -> None:
    source: Any = Source()
    contract.load(source, None)
    contract.load(source, None)
    assert source.asked == 1
    [kept] = cache.rglob("openapi-*.json")
    past = kept.stat().st_mtime - 601
    os.utime(kept, (past, past))
    contract.load(source, None)
    assert source.asked == 2


def test_forgetting_asks_again() -> None:
    source: Any = Source()
    contract.load(source, "s")
    contract.forget(source, "s")
    contract.load(source, "s")
    assert source.asked == 2


def test_a_damaged_cache_is_no_hindrance(cache: Path) -> None:
    source: Any = Source()
    contract.load(source, "s")
    for kept in cache.rglob("openapi-*.json"):
        kept.write_text("{")
    assert contract.load(source, "s").operations
    assert source.asked == 2


def test_a_cache_that_cannot_be_written_is_no_hindrance(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    source: Any = Source()
    assert contract.load(source, "s").operations


def test_old_contracts_do_not_pile_up(cache: Path) -> None:
    source: Any = Source()
    for number in range(20):
        contract.load(source, f"start {number}")
    assert len(list(cache.rglob("openapi-*.json"))) <= 9
