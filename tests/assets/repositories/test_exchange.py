"""One file in the place of another: nothing is deleted, nothing of the old one shows through."""

from pathlib import Path

import pytest

from builderos.assets.repositories import exchange
from builderos.assets.repositories.store import RepositoryStore

ONE, TWO, THREE, FOUR = ("1" * 40, "2" * 40, "3" * 40, "4" * 40)
REF = "refs/heads/x"


def test_moving_a_ref_again_and_again_needs_two_files_in_all(tmp_path: Path) -> None:
    store = RepositoryStore(tmp_path)
    seen: set[int] = set()
    for sha in (ONE, TWO, THREE, FOUR):
        store.write_ref("s.git", REF, sha)
        assert (tmp_path / "s.git" / REF).read_text() == sha + "\n"
        assert not (tmp_path / "s.git" / f"{REF}.lock").exists()
        seen.add((tmp_path / "s.git" / REF).stat().st_ino)
    assert len(seen) == (2 if exchange._renameat2 is not None else 4)


def test_nothing_of_a_longer_spare_file_shows_through(tmp_path: Path) -> None:
    store = RepositoryStore(tmp_path)
    store.write_ref("s.git", REF, ONE)
    (tmp_path / "s.git" / "spare").write_text("x" * 500)
    store.write_ref("s.git", REF, TWO)
    assert (tmp_path / "s.git" / REF).read_text() == TWO + "\n"


def test_a_spare_file_does_not_take_a_lock_that_is_held(tmp_path: Path) -> None:
    lock, spare = tmp_path / "x.lock", tmp_path / "spare"
    lock.write_text("held")
    spare.write_text("spare")
    with pytest.raises(FileExistsError):
        exchange.take(str(spare), str(lock))
    assert lock.read_text() == "held"
    assert spare.read_text() == "spare"


def test_a_system_that_cannot_swap_names_still_moves_refs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "_renameat2", None)
    store = RepositoryStore(tmp_path)
    for sha in (ONE, TWO, THREE):
        store.write_ref("s.git", REF, sha)
    assert store.swap_ref("s.git", REF, THREE, FOUR)
    assert not store.swap_ref("s.git", REF, THREE, ONE)
    assert (tmp_path / "s.git" / REF).read_text() == FOUR + "\n"
