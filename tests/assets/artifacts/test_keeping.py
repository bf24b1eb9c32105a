"""What is kept by runs, for how long, and what tidying takes away: never what somebody refers to."""

import hashlib
import io
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from builderos.assets.artifacts import keeping
from builderos.assets.artifacts import service as artifacts
from builderos.assets.artifacts.hashing import Summing
from builderos.assets.artifacts.ports import RunFacts
from builderos.core.clock import utcnow
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.trust.orgs import closing
from builderos.trust.vault import service as vault
from tests.support.lab import Lab
from tests.support.uploads import content, file_of, upload
from tests.support.world import Json

RUN, STEP = "run_01JD3W6Q8Z5V2N7X4K9T0M1R3B", "stp_01JD3W6Q8Z5V2N7X4K9T0M1R3B"


def inside(lab: Lab, verb: Callable[[Unit], Any]) -> Any:
    return as_system(lab.world.context, lab.world.org_id, verb)


def kept(lab: Lab, data: bytes, path: str = "out/a.bin", **more: Any) -> artifacts.Artifact:
    return inside(lab, lambda unit: artifacts.keep(unit, data, path=path, **more))


def tidy(lab: Lab, **ahead: float) -> int:
    """One night's work, as if it were later; files are as old as the clock says."""
    later = mock.Mock(side_effect=lambda: utcnow() + timedelta(**ahead))
    with (
        lab.later(**ahead),
        mock.patch("builderos.assets.artifacts.tidying.utcnow", later),
    ):
        return artifacts.tidy(lab.world.context, lab.world.org_id)


def get(lab: Lab, id_: str) -> Json:
    return lab.ok(lab.as_owner("GET", f"/v1/artifacts/{id_}"))


def rules(lab: Lab, **values: Any) -> Json:
    return lab.ok(lab.as_owner("POST", "/v1/artifacts/rules", json=values))


@pytest.mark.parametrize("form", ["bytes", "file", "path", "pieces"])
def test_a_run_keeps_whatever_form_it_has_it_in(lab: Lab, form: str, tmp_path: Path) -> None:
    data = os.urandom(2_000_000)
    file = tmp_path / "made.bin"
    file.write_bytes(data)
    source: Any = {
        "bytes": data, "file": io.BytesIO(data), "path": file, "pieces": iter([data[:7], data[7:]]),
    }[form]  # fmt: skip
    made = kept(lab, source, run_id=RUN, step_id=STEP, created_by_agent="agt_x", created_by_prompt="p@1")
    assert (made.run_id, made.step_id, made.size) == (RUN, STEP, len(data))
    assert (made.created_by_agent, made.created_by_prompt) == ("agt_x", "p@1")
    assert made.hash == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert content(lab, made.id).content == data
    listed = lab.ok(lab.as_owner("GET", "/v1/artifacts", params={"run_id": RUN}))["items"]
    assert made.id in [item["id"] for item in listed]


def test_a_step_that_is_repeated_keeps_the_same_thing_once(lab: Lab) -> None:
    data = os.urandom(100)
    first = kept(lab, data, run_id=RUN, step_id=STEP)
    assert kept(lab, data, run_id=RUN, step_id=STEP).id == first.id
    assert kept(lab, data, run_id=RUN, step_id=STEP, path="other").id != first.id
    assert kept(lab, os.urandom(100), run_id=RUN, step_id=STEP).id != first.id


def test_many_keep_the_same_content_at_once(lab: Lab) -> None:
    data, made, faults = os.urandom(300_000), list[str](), list[BaseException]()

    def one(n: int) -> None:
        try:
            made.append(kept(lab, data, f"out/{n}.bin").id)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(set(made)) == 6
    assert content(lab, made[0]).content == data


def test_what_is_too_large_or_badly_named_is_not_kept(lab: Lab) -> None:
    with mock.patch.object(keeping, "ways", _small(keeping.ways)), pytest.raises(Problem) as told:
        kept(lab, b"12345678901")
    assert told.value.code == "payload_too_large"
    for path in ("../x", "/x", "a\\b"):
        with pytest.raises(Problem) as told:
            kept(lab, b"x", path)
        assert told.value.code == "invalid_path"
    drafts = lab.world.home / "artifacts" / lab.world.org_id / ".drafts"
    assert list(drafts.iterdir()) == []


def _small(real: Any) -> Any:
    def ways(unit: Unit) -> Any:
        found = real(unit)
        return type(found)(found.store, found.cleaner, 10)

    return ways


# ---------------------------------------------------------------- secrets


def test_secrets_are_taken_out_of_texts_and_not_out_of_bytes(lab: Lab) -> None:
    value = f"hunter2-{os.urandom(12).hex()}"
    lab.ok(lab.as_owner("POST", "/v1/secrets", json={"key_name": "DB_PASSWORD", "value": value}), 201)
    inside(lab, lambda unit: unit.get(vault.Known).changed(unit.org_id))
    text = f"connected with {value} and ".encode() * 50_000
    made = kept(lab, text, "log.txt")
    assert made.redacted is True
    body = content(lab, made.id).content
    assert value.encode() not in body
    assert body.count(b"[secret removed]") == 50_000
    sent = upload(lab, text, "sent.txt")
    assert (sent["redacted"], sent["hash"]) == (True, made.hash)
    binary = b"\0" + text
    assert kept(lab, binary, "core.bin").redacted is False
    assert kept(lab, b"nothing of the kind", "plain.txt").redacted is False
    token = "ghp_" + "".join(chr(97 + n % 26) + str(n % 10) for n in range(18))
    assert token.encode() not in content(lab, kept(lab, f"t={token}\n".encode(), "t.txt").id).content
    rules(lab, redact="known")
    assert token.encode() in content(lab, kept(lab, f"u={token}\n".encode(), "t.txt").id).content
    assert kept(lab, text + b".", "log.txt").redacted is True
    rules(lab, redact="off")
    assert kept(lab, text + b"!", "log.txt").redacted is False
    assert rules(lab, redact=None)["redact"] == "all"


# ---------------------------------------------------------------- terms


def test_the_shortest_term_counts_and_the_record_stays(lab: Lab) -> None:
    data = os.urandom(64)
    own = kept(lab, data, expires_at=utcnow() + timedelta(days=2))
    of_pipeline = kept(lab, data, facts=RunFacts(None, None, "nightly"))
    for_ever = kept(lab, data)
    rules(lab, pipeline="nightly", keep_days=5)
    assert get(lab, of_pipeline.id)["expires_at"] is not None
    assert tidy(lab, days=3) > 0
    assert (get(lab, own.id)["gone_why"], get(lab, of_pipeline.id)["gone_why"]) == ("expired", None)
    lab.problem(content(lab, own.id), "not_found")
    tidy(lab, days=6)
    assert get(lab, of_pipeline.id)["gone_why"] == "expired"
    assert get(lab, for_ever.id)["gone_at"] is None
    assert content(lab, for_ever.id).content == data
    rules(lab, keep_days=7)
    tidy(lab, days=8)
    assert get(lab, for_ever.id)["gone_why"] == "expired"
    rules(lab, keep_days=None)
    rules(lab, pipeline="nightly", keep_days=None)
    lines = lab.events(type="artifact.expired")
    assert for_ever.id in lines[0]["payload"]["artifacts"]
    lab.problem(
        lab.as_owner("POST", "/v1/artifacts/rules", json={"pipeline": "x", "redact": "off"}),
        "validation_failed",
    )


def test_a_legal_hold_keeps_what_its_subject_made(lab: Lab) -> None:
    made = kept(lab, os.urandom(64), expires_at=utcnow() + timedelta(days=1))
    body = {"subject": made.created_by, "reason": "matter 7"}
    hold = lab.ok(lab.as_owner("POST", "/v1/audit/holds", json=body), 201)["id"]
    tidy(lab, days=2)
    assert get(lab, made.id)["gone_at"] is None
    lab.problem(lab.as_owner("DELETE", f"/v1/artifacts/{made.id}"), "conflict")
    lab.ok(lab.as_owner("DELETE", f"/v1/audit/holds/{hold}"))
    tidy(lab, days=2)
    assert get(lab, made.id)["gone_why"] == "expired"


# ---------------------------------------------------------------- tidying


def deleted(lab: Lab, data: bytes) -> Path:
    made = upload(lab, data)
    gone = lab.ok(lab.as_owner("DELETE", f"/v1/artifacts/{made['id']}"))
    assert gone["gone_why"] == "deleted"
    return file_of(lab, data)


def test_content_goes_a_day_after_the_last_who_referred_to_it(lab: Lab) -> None:
    data = os.urandom(1000)
    other = upload(lab, data, "another.bin")
    file = deleted(lab, data)
    used = lab.ok(lab.as_owner("GET", "/v1/artifacts/rules"))["used_bytes"]
    tidy(lab)
    tidy(lab, days=2)
    assert file.exists(), "another artifact has the same content"
    lab.ok(lab.as_owner("DELETE", f"/v1/artifacts/{other['id']}"))
    tidy(lab)
    assert file.exists()
    tidy(lab, hours=25)
    assert not file.exists()
    assert lab.ok(lab.as_owner("GET", "/v1/artifacts/rules"))["used_bytes"] <= used - 1000
    shown = lab.ok(lab.as_owner("GET", "/v1/artifacts", params={"gone": True, "path": "another.bin"}))[
        "items"
    ]
    assert shown[0]["gone_why"] == "deleted"


def test_what_is_kept_again_meanwhile_stays(lab: Lab) -> None:
    data = os.urandom(1000)
    file = deleted(lab, data)
    tidy(lab)
    again = upload(lab, data)
    tidy(lab, hours=25)
    assert file.exists()
    assert content(lab, again["id"]).content == data


def test_keeping_and_removing_the_same_content_at_once_loses_nothing(lab: Lab) -> None:
    """The worst moment: the bytes were put, the row is not yet there, and the term of the old one is over."""
    data = os.urandom(1000)
    deleted(lab, data)
    tidy(lab)
    world = lab.world
    ready = artifacts.prepare(world.context, world.org_id, data, path="a")
    tidy(lab, hours=25)
    assert not file_of(lab, data).exists()
    with pytest.raises(Problem) as told:
        inside(lab, lambda unit: artifacts.keep(unit, ready, path="a"))
    assert told.value.code == "busy"
    made = kept(lab, data, "a")
    assert content(lab, made.id).content == data


def test_a_race_of_keepers_and_tidiers_leaves_every_artifact_readable(lab: Lab) -> None:
    data, faults, made = [os.urandom(200) for _ in range(3)], list[BaseException](), list[tuple[str, bytes]]()
    done = threading.Event()

    def keeper(mine: int) -> None:
        try:
            for n in range(12):
                which = data[(n + mine) % 3]
                found = kept(lab, which, f"race/{mine}-{n}")
                made.append((found.id, which))
                if n % 2:
                    lab.ok(lab.as_owner("DELETE", f"/v1/artifacts/{found.id}"))
                    made.remove((found.id, which))
        except Problem as problem:
            if problem.code != "busy":
                faults.append(problem)
        except BaseException as error:
            faults.append(error)

    def tidier() -> None:
        with mock.patch.object(artifacts.tidying, "GRACE", timedelta(0)):
            while not done.is_set():
                artifacts.tidy(lab.world.context, lab.world.org_id)

    keepers = [threading.Thread(target=keeper, args=(n,)) for n in range(3)]
    sweeper = threading.Thread(target=tidier)
    for thread in (sweeper, *keepers):
        thread.start()
    for thread in keepers:
        thread.join()
    done.set()
    sweeper.join()
    assert faults == []
    assert made
    for id_, which in made:
        assert content(lab, id_).content == which


def test_bytes_of_somebody_who_died_before_saying_so_are_found_and_removed(lab: Lab) -> None:
    data = os.urandom(500)
    artifacts.prepare(lab.world.context, lab.world.org_id, data, path="a")
    draft = lab.world.home / "artifacts" / lab.world.org_id / ".drafts" / "left"
    draft.write_bytes(b"half")
    tidy(lab)
    assert file_of(lab, data).exists(), "somebody may still be about to say so"
    tidy(lab, hours=25)
    assert not draft.exists()
    assert file_of(lab, data).exists()
    tidy(lab, hours=50)
    tidy(lab, hours=51)
    assert not file_of(lab, data).exists()


def test_a_copy_in_a_store_that_a_row_does_not_name_is_removed(lab: Lab) -> None:
    data = os.urandom(400)
    made = upload(lab, data)
    what = Summing.over([data]).done()
    lab.sql("update ops.artifact_contents set store = 'elsewhere' where hash = %s", what.hash)
    other = artifacts.FolderStore(lab.world.home / "elsewhere")
    draft = other.draft(lab.world.org_id)
    draft.write(data)
    draft.keep(what)
    lab.world.context.get(artifacts.Stores).enrol("elsewhere", lambda _url: other)
    tidy(lab, hours=25)
    assert not file_of(lab, data).exists()
    assert content(lab, made["id"]).content == data


# ---------------------------------------------------------------- the end


def test_an_organisation_that_is_erased_leaves_no_content_anywhere(lab: Lab) -> None:
    other = lab.second_org("leaving")
    data = os.urandom(300)
    upload(lab, data, headers=other.owner)
    stays = upload(lab, data)
    assert file_of(lab, data, other.id).exists()
    lab.sql(
        "update ops.orgs set closing_at = now(), closing_by = 'x', erase_at = now() where id = %s", other.id
    )
    closing.erase(lab.world.context, other.id)
    assert not (lab.world.home / "artifacts" / other.id).exists()
    for table in ("artifacts", "artifact_contents", "artifact_space"):
        assert lab.sql(f"select count(*) from ops.{table} where org_id = %s", other.id) == [(0,)]
    assert content(lab, stays["id"]).content == data
