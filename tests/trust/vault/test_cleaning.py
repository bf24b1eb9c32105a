"""What an organisation keeps secret stays out of git, the ledger, exports, logs and problem replies."""

import base64
import io
import json
import logging
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from builderos.core import logs
from builderos.core.problems import Problem
from builderos.core.unit import as_system
from builderos.trust.ledger import service as ledger
from builderos.trust.secrets.service import REMOVED
from builderos.trust.vault import service as vault
from tests.support.gitclients import clone
from tests.support.lab import Lab
from tests.support.live import live as serving
from tests.support.world import Sandbox

VALUE = "Kd8-" + os.urandom(10).hex() + '/ü"x'
FORMS = (
    VALUE,
    base64.b64encode(b"svc:" + VALUE.encode()).decode(),
    quote(VALUE, safe=""),
    json.dumps({"k": VALUE}),
)


@pytest.fixture(scope="module", autouse=True)
def kept(lab: Lab) -> None:
    lab.ok(lab.as_owner("POST", "/v1/secrets", json={"key_name": "CLEANED", "value": VALUE}), 201)


@pytest.fixture
def box(lab: Lab) -> Sandbox:
    return lab.open_sandbox()


@pytest.mark.parametrize("form", FORMS, ids=["plain", "base64", "in an address", "JSON"])
def test_a_kept_secret_cannot_be_committed_in_any_form(lab: Lab, box: Sandbox, form: str) -> None:
    file = {"path": "conf.txt", "content": f"one\nkey: {form}\n"}
    refused = lab.problem(
        box.try_post("/commit_and_log_output", files=[file], message="Add"), "policy_denied"
    )
    assert (
        refused["findings"][0] | {"path": "conf.txt", "line": 2, "rule": "kept-secret"}
        == refused["findings"][0]
    )
    assert VALUE[:12] not in str(refused)


def test_a_kept_secret_cannot_be_pushed(lab: Lab, box: Sandbox, tmp_path: Path) -> None:
    with serving(lab.world.asgi) as url:
        mine = clone(url, box.token, box.branch, tmp_path / "clone")
        mine.commit({"conf.txt": f"key: {VALUE}\n"})
        pushed = mine.push()
    assert not pushed.ok
    assert "secret of the vault" in pushed.err


def test_it_is_taken_out_of_messages_metadata_and_exports(lab: Lab, box: Sandbox) -> None:
    box.commit({"a.txt": "a\n"}, message=f"Use {FORMS[1]}", task_id=f"t {VALUE}", metadata={"note": [VALUE]})
    log = box.post("/git/log")
    story = box.post("/system/metrics", mode="export")
    (line,) = [e for e in lab.events(branch=box.branch) if e["type"] == "commit"]
    exported = lab.world.http.get(
        "/v1/audit/export", params={"format": "jsonl"}, headers=lab.world.owner
    ).text
    everything = str(log) + str(story) + str(line) + exported
    assert REMOVED in str(log)
    assert REMOVED in str(line["payload"]["metadata"])
    assert all(form not in everything for form in FORMS)
    assert VALUE[:14] not in everything


def test_free_texts_of_the_ledger_are_cleaned_and_its_facts_are_not(lab: Lab) -> None:
    def verb(unit: object) -> None:
        payload = {
            "note": {"x": VALUE},
            "detail": f"failed with {VALUE}",
            "paths": ["src/a.py"],
            "branch": VALUE,
        }
        ledger.record(unit, "test.cleaned", "here", payload)  # type: ignore[arg-type]

    as_system(lab.world.context, lab.world.org_id, verb)
    (line,) = lab.events(type="test.cleaned")
    assert line["payload"]["detail"] == f"failed with {REMOVED}"
    assert (
        line["payload"]["branch"] == VALUE
    )  # a fact: nobody keeps an act out of the record by keeping its place


@pytest.mark.parametrize("form", ["json", "text"])
def test_logs_hold_no_secret_wherever_it_stands(lab: Lab, form: str) -> None:
    stream = io.StringIO()
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    settings = lab.world.settings.model_copy(update={"log_format": form, "log_level": "info"})
    try:
        logs.configure(settings, stream)
        log = logging.getLogger("builderos.test")
        log.error("argument %s", VALUE, extra={"fields": {"why": FORMS[2], "deep": {"x": [VALUE]}}})
        try:
            raise ValueError(f"inside {VALUE}")
        except ValueError:
            log.exception("it failed")
    finally:
        root.handlers[:] = before
    written = stream.getvalue()
    assert written.count(REMOVED) >= 3
    assert VALUE[:14] not in written


def test_problems_tell_no_secret(lab: Lab) -> None:
    body = Problem("upstream_failed", f"said {VALUE}", hint=f"not {FORMS[1]}", log=[f"line {VALUE}"]).as_dict(
        "req_1"
    )
    assert VALUE[:14] not in str(body)
    assert body["code"] == "upstream_failed"


def test_another_process_knows_it_too_once_it_works_for_the_organisation(lab: Lab) -> None:
    fresh = vault.Known()
    assert fresh.clean(VALUE) == VALUE
    assert as_system(lab.world.context, lab.world.org_id, lambda unit: fresh.of(unit).text(VALUE)) == REMOVED
    assert fresh.clean(FORMS[1]) != FORMS[1]


def test_another_organisation_is_not_told_what_this_one_keeps(lab: Lab) -> None:
    other = lab.second_org("cleaned")
    fresh = vault.Known()

    def verb(unit: object) -> str:
        with unit.within(_system(other.id)) as theirs:  # type: ignore[attr-defined]
            return fresh.of(theirs).text(VALUE)

    assert as_system(lab.world.context, lab.world.org_id, verb) == VALUE


def _system(org_id: str) -> object:
    from builderos.core.actor import system_actor

    return system_actor(org_id)


def test_a_deleted_secret_is_looked_for_no_longer_and_the_version_before_still_is(
    lab: Lab, box: Sandbox
) -> None:
    first, second = ("Zu4-" + os.urandom(10).hex() for _ in range(2))
    made = [
        lab.ok(lab.as_owner("POST", "/v1/secrets", json={"key_name": "ROLLED", "value": value}), 201)
        for value in (first, second)
    ]
    for value in (first, second):
        file = {"path": "r.txt", "content": value}
        lab.problem(box.try_post("/commit_and_log_output", files=[file], message="Add"), "policy_denied")
    lab.ok(lab.as_owner("DELETE", f"/v1/secrets/{made[0]['id']}"))
    box.commit({"r.txt": f"it was {first}\n"})


def test_a_process_forgets_none_of_the_many_values_it_has_had_in_its_hands() -> None:
    known, values = vault.Known(), [os.urandom(12).hex() for _ in range(130)]
    for value in values:
        known.saw(value.encode())
        assert known.clean(f"x{value}") == f"x{REMOVED}"
    assert known.clean(" ".join(values)) == " ".join([REMOVED] * len(values))


def test_nobody_without_a_name_finds_a_weak_secret_by_trying(lab: Lab, box: Sandbox) -> None:
    weak = "correct horse battery"
    lab.ok(lab.as_owner("POST", "/v1/secrets", json={"key_name": "WEAK", "value": weak}), 201)
    made = box.commit({"w.txt": f"{weak}\n"}, message=f"Try {weak}", metadata={"guess": weak})
    told = str(made) + str(box.post("/git/log")) + str(box.post("/system/metrics", mode="export"))
    assert REMOVED not in told
    key = lab.key("read", "write")
    dev = f"dev-{os.urandom(3).hex()}"
    ((repo_id,),) = lab.sql(
        "select id from ops.repositories where name = 'lab' and org_id = %s", lab.world.org_id
    )
    lab.ok(lab.as_owner("POST", f"/v1/repos/{repo_id}/branches", json={"branch": dev}))
    body = {"repo_name": "lab", "branch": dev, "file_path": "w.txt", "content": "w", "message": f"Use {weak}"}
    kept = lab.ok(lab.world.http.post("/commit_and_log_output", json=body, headers=key))
    assert kept["changelog_entry"]["message"] == f"Use {REMOVED}"
