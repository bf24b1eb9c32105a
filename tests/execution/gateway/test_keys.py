"""Credentials of providers that stand in the vault, and spans that say nothing of what was said."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from builderos.core import tracing
from builderos.core.problems import Problem
from tests.support.gateways import FILE, Models
from tests.support.upstreams import Reply

POLICY = "version: 1\nrules:\n  - {id: models, scope: {agent: builderos}, allow: {secrets: [UP_*]}}\n"
VALUE = "sk-kept-in-the-vault-7c1f"


def with_vault(models: Models) -> None:
    models.file(FILE.replace("env:UP_KEY_ONE, env:UP_KEY_TWO", "secret:UP_KEY"))


def test_a_secret_of_the_organisation_is_used_where_the_policy_lists_it(models: Models) -> None:
    with_vault(models)
    with pytest.raises(Problem, match="no credential") as missing:
        models.complete()
    assert missing.value.code == "unavailable"
    assert [(row.state, row.cost) for row in models.rows()] == [("failed", 0)]
    owner = models.world.as_owner
    models.world.ok(owner("POST", "/v1/secrets", json={"key_name": "UP_KEY", "value": VALUE}), 201)
    with pytest.raises(Problem, match="no credential"):  # no rule lists it
        models.complete()
    proposed = models.world.ok(owner("PUT", "/v1/policies", json={"content": POLICY, "reason": "Models"}))
    approve = f"/v1/approvals/{proposed['approval_id']}"
    models.world.ok(owner("POST", approve, json={"decision": "approve"}))
    for _ in range(3):
        assert models.complete().text == "Hello there!"
    assert {headers["authorization"] for headers in models.upstream.headers} == {f"Bearer {VALUE}"}
    released = models.world.ok(owner("GET", "/v1/audit", params={"type": "secret.released"}))["items"]
    assert len(released) == 1  # once for a while, not for each request


class Kept:
    """Spans as somebody keeps them."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Any]) -> Iterator["KeptSpan"]:
        kept = KeptSpan({"name": name, **attributes})
        self.spans.append(kept.said)
        yield kept

    def door(self, name: str, headers: Mapping[str, str]) -> Any:
        return self.span(name, {})

    @staticmethod
    def headers() -> dict[str, str]:
        return {}


class KeptSpan:
    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said

    def rename(self, name: str) -> None:
        self.said["name"] = name

    def set(self, name: str, value: Any) -> None:
        self.said[name] = value

    def fail(self, code: str) -> None:
        self.said["failed"] = code


def test_spans_name_the_model_and_its_tokens_and_nothing_that_was_said(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept()
    monkeypatch.setattr(tracing._Installed, "tracer", kept)
    models.upstream.replies.append(Reply(words=["whisper-of-the-model"]))
    models.stream("whisper-of-the-user")
    (span,) = [span for span in kept.spans if "gen_ai.request.model" in span]
    assert span["gen_ai.provider.name"] == "up"
    assert (span["gen_ai.usage.input_tokens"], span["gen_ai.usage.output_tokens"]) == (1, 1)
    assert "whisper" not in str(kept.spans)
