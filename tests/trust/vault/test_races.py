"""Many hands at once: no version is lost, and a new key of the vault locks nobody out."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from builderos.core.unit import Unit, as_system
from builderos.trust.vault.keys import Keys
from builderos.trust.vault.known import Known
from tests.support.lab import Lab


def at_once(*acts: Callable[[], object]) -> list[object]:
    with ThreadPoolExecutor(len(acts)) as pool:
        return [done.result() for done in [pool.submit(act) for act in acts]]


def put(lab: Lab, name: str, value: str) -> Callable[[], int]:
    def act() -> int:
        body = {"key_name": name, "value": value}
        return lab.ok(lab.as_owner("POST", "/v1/secrets", json=body), 201)["version"]

    return act


def opened(lab: Lab, *texts: str) -> list[bool]:
    """Which of the values the organisation's vault has and can open."""

    def look(unit: Unit) -> list[bool]:
        redactor = Known().of(unit)
        return [redactor.text(text) != text for text in texts]

    return as_system(lab.world.context, lab.world.org_id, look)


def test_the_first_secret_of_an_organisation_may_be_set_by_many_at_once(lab: Lab) -> None:
    values = [f"first-value-{number}" for number in range(6)]
    versions = at_once(*(put(lab, "FIRST", value) for value in values))
    assert sorted(versions) == [1, 2, 3, 4, 5, 6]  # type: ignore[type-var]
    assert sum(opened(lab, *values)) == 2  # the one in use, and the one before
    assert len(lab.sql("select version from ops.vault_keys where org_id = %s", lab.world.org_id)) == 1


def test_while_the_key_is_rotated_secrets_can_be_set_and_all_of_them_open(lab: Lab) -> None:
    values = [f"rotated-value-{number}" for number in range(6)]

    def rotate() -> object:
        return lab.ok(lab.as_owner("POST", "/v1/vault/rotate-key", json={}))

    acts = [put(lab, f"ROTATED_{number}", value) for number, value in enumerate(values)]
    at_once(*acts[:3], rotate, *acts[3:], rotate, rotate)
    assert opened(lab, *values) == [True] * 6
    keys = lab.sql("select version from ops.vault_keys where org_id = %s", lab.world.org_id)
    used = lab.sql("select distinct key_version from ops.secret_versions where sealed is not null")
    assert used == keys
    assert len(keys) == 1


def test_a_key_of_the_vault_that_was_altered_opens_nothing(lab: Lab) -> None:
    put(lab, "ALTERED", "altered-value-1")()
    ((version, wrapped),) = lab.sql(
        "select version, wrapped from ops.vault_keys where org_id = %s", lab.world.org_id
    )
    lab.sql("update ops.vault_keys set wrapped = %s where org_id = %s", wrapped[:-1] + b"x", lab.world.org_id)
    assert opened(lab, "altered-value-1") == [False]

    def box(unit: Unit) -> str:
        try:
            Keys(unit).box(version)
        except ValueError as error:
            return str(error)
        return "opened"

    assert "altered" in as_system(lab.world.context, lab.world.org_id, box)
    lab.sql("update ops.vault_keys set wrapped = %s where org_id = %s", wrapped, lab.world.org_id)
    assert opened(lab, "altered-value-1") == [True]
