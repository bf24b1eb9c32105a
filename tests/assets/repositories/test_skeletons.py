"""What makes a folder a repository, written by many at once."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from builderos.assets.repositories.store import RepositoryStore

ROUNDS, AT_ONCE = 40, 4


def test_several_may_mend_the_same_store_at_once(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    store = RepositoryStore(tmp_path)
    usual = sys.getswitchinterval()
    request.addfinalizer(lambda: sys.setswitchinterval(usual))
    sys.setswitchinterval(1e-6)  # they take turns as often as they can
    together = threading.Barrier(AT_ONCE)

    def mend(number: int) -> None:
        together.wait(60)
        store.mend(f"r{number}/base.git", head="refs/heads/main", alternates=None)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(ROUNDS):
            list(pool.map(mend, [number] * AT_ONCE))
            assert (tmp_path / f"r{number}/base.git/HEAD").read_text() == "ref: refs/heads/main\n"
