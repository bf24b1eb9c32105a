"""`builderos artifacts`: sent, fetched and listed; broken off and gone on with."""

import json
import os
from pathlib import Path

import pytest

from builderos.client import artifacts as transfer
from builderos.client.errors import ClientError, no_server
from builderos.client.http import Client

from .conftest import Line

DATA = os.urandom(1_500_000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "net.bin"
    made.write_bytes(DATA)
    return made


def test_a_file_is_sent_listed_shown_fetched_and_deleted(builder: Line, file: Path, tmp_path: Path) -> None:
    made = builder.json("artifacts", "put", str(file), "--path", "models/net.bin", "--type", "model")
    assert (made["path"], made["type"], made["size"]) == ("models/net.bin", "model", len(DATA))
    assert made["id"] in builder.ok("artifacts", "list", "--path", "models/net.bin")
    assert made["hash"] in builder.ok("artifacts", "show", made["id"])
    back = tmp_path / "back.bin"
    assert str(len(DATA)) in builder.ok("artifacts", "get", made["id"], "-o", str(back))
    assert back.read_bytes() == DATA
    assert not back.with_name("back.bin.part").exists()
    assert builder("artifacts", "get", made["id"], "-o", str(back)).code == 2
    assert builder("artifacts", "delete", made["id"]).code == 2  # nobody was asked
    assert "gone" in builder.ok("artifacts", "delete", made["id"], "--yes")
    assert builder("artifacts", "get", made["id"], "-o", str(tmp_path / "x")).code not in (0, 2)


def test_a_fetch_goes_on_where_it_was_and_takes_nothing_altered(
    builder: Line, file: Path, tmp_path: Path
) -> None:
    made = builder.json("artifacts", "put", str(file))
    back = tmp_path / "back.bin"
    part = tmp_path / "back.bin.part"
    part.write_bytes(DATA[:1_000_000])
    builder.ok("artifacts", "get", made["id"], "-o", str(back))
    assert back.read_bytes() == DATA
    back.unlink()
    part.write_bytes(b"?" + DATA[1:1_000_000])
    assert builder("artifacts", "get", made["id"], "-o", str(back)).code == 1
    assert not back.exists()
    assert not part.exists()


def test_an_upload_that_broke_off_goes_on(builder: Line, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Client):
        """The third part is lost on its way, and the answer to the fourth on the way back."""

        calls = 0

        def send(self, path: str, data: bytes) -> dict[str, object]:
            self.calls += 1
            if self.calls == 3:
                raise no_server("cut", "again") from ConnectionResetError()
            done = super().send(path, data)
            if self.calls == 4:
                raise no_server("cut", "again") from ConnectionResetError()
            return done

    monkeypatch.setattr(transfer, "PART", 200_000)
    home = Path(builder.env["BUILDEROS_HOME"])
    address = json.loads((home / "server.json").read_text())["url"]
    client = Broken(address, (home / "owner.token").read_text().strip())
    begun = transfer.begin(client, file, "a/net.bin")
    seen: list[int] = []
    made = transfer.send(client, begun["id"], file, lambda done, _all: seen.append(done))
    assert made["size"] == len(DATA)
    assert seen == sorted(seen)
    transfer.fetch(client, made, file.with_name("back.bin"))
    assert file.with_name("back.bin").read_bytes() == DATA
    with pytest.raises(ClientError) as gone:
        transfer.send(client, begun["id"], file)
    assert gone.value.code == "not_found", "the connection goes on"


def test_terms_are_shown_and_changed(builder: Line) -> None:
    builder.ok("artifacts", "rules", "--keep-days", "400")
    assert builder.json("artifacts", "rules", "--pipeline", "nightly", "--keep-days", "30")["pipelines"] == [
        {"pipeline": "nightly", "keep_days": 30}
    ]
    assert "nightly: 30 days" in builder.ok("artifacts", "rules")
    builder.ok("artifacts", "rules", "--keep-days", "0")
    assert builder.json("artifacts", "rules", "--redact", "known")["keep_days"] is None


def test_everything_may_be_told_to_be_where_it_is(builder: Line) -> None:
    assert "All content lies there" in builder.ok("artifacts", "move", "--to", "folder")
    assert builder("artifacts", "move", "--to", "ftp://x").code not in (0, 4)
