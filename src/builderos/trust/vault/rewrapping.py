"""After the key that wraps was replaced: one organisation after the other is moved under the new one."""

from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.secrets.service import Keyring


def rewrap(unit: Unit) -> bool:
    """Move the unit's organisation under the newest wrapping key; whether there was anything to do."""
    moved = unit.get(Keyring).rewrap(unit)
    if moved:
        ledger.record(unit, "org.key_rewrapped", unit.org_id, {})
    return moved
