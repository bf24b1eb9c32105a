"""Every organisation seals under a key of its own, which ends with it."""

from collections.abc import Iterator

import pytest

from builderos.core.unit import as_system
from builderos.trust.secrets.service import Box, Keyring
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp


@pytest.fixture(scope="module")
def own_lab(databases: Databases) -> Iterator[Lab]:
    with lab_in_temp(databases) as lab:
        yield lab


def box_of(lab: Lab, org_id: str) -> Box:
    return as_system(lab.world.context, org_id, lab.world.context.get(Keyring).box)


def test_what_one_organisation_seals_no_other_opens_nor_the_server_alone(own_lab: Lab) -> None:
    other = own_lab.second_org()
    mine, theirs = box_of(own_lab, own_lab.world.org_id), box_of(own_lab, other.id)
    sealed = mine.seal(b"secret", "x")
    assert box_of(own_lab, own_lab.world.org_id).open(sealed, "x") == b"secret"
    for stranger in (theirs, own_lab.world.context.get(Box)):
        with pytest.raises(ValueError, match="altered or belongs elsewhere"):
            stranger.open(sealed, "x")


def test_a_key_serves_only_its_own_organisation_and_unaltered(own_lab: Lab) -> None:
    first, second = own_lab.second_org("first"), own_lab.second_org("second")
    own_lab.sql(
        "update ops.org_keys set wrapped = (select wrapped from ops.org_keys where org_id = %s) where org_id = %s",
        first.id, second.id,
    )  # fmt: skip
    with pytest.raises(ValueError, match="altered or belongs elsewhere"):
        box_of(own_lab, second.id)
    own_lab.sql("delete from ops.org_keys where org_id = %s", second.id)
    with pytest.raises(LookupError):
        box_of(own_lab, second.id)


def test_the_database_alone_holds_no_key(own_lab: Lab) -> None:
    org = own_lab.second_org("kept")
    keys = as_system(own_lab.world.context, org.id, own_lab.world.context.get(Keyring).keys)
    stored = own_lab.sql("select wrapped from ops.org_keys where org_id = %s", org.id)[0][0]
    assert len(keys.secret) == 32
    assert keys.secret not in bytes(stored)
    again = as_system(own_lab.world.context, org.id, own_lab.world.context.get(Keyring).create)
    assert again is None
    assert as_system(own_lab.world.context, org.id, own_lab.world.context.get(Keyring).keys) == keys
