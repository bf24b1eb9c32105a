"""What keeping an artifact and getting it back costs, beside copying the file and hashing it."""

import hashlib
import os
import shutil
from pathlib import Path

from builderos.assets.artifacts import keeping, reading
from builderos.assets.artifacts.folder import FolderStore
from builderos.assets.artifacts.hashing import verified
from builderos.client import artifacts as transfer
from builderos.client.http import Client

from .report import Report
from .stage import Home, Server
from .timing import interleave, medians

SIZE = 128 * 1024 * 1024
CHUNK = 1024 * 1024
assert reading.BLOCK == CHUNK


def throughput(report: Report, home: Home, server: Server, place: Path, rounds: int) -> None:
    """One file of 128 MiB: into the store and out of it, then the same through the server's door."""
    file, org = place / "artifact.bin", "org_bench"
    file.write_bytes(os.urandom(SIZE))
    store = FolderStore(place / "artifacts")
    ways = keeping.Ways(store, None, 2 * SIZE)
    kept = keeping.put(ways, org, file, path="net.bin").what
    client = Client(f"http://127.0.0.1:{server.port}", home.owner_token)
    upload = transfer.begin(client, file, "net.bin")["id"]
    artifact = transfer.send(client, upload, file)

    def plain(_: int) -> None:
        copy = place / "copy.bin"
        shutil.copyfile(file, copy)
        with copy.open("rb+") as opened:
            os.fsync(opened.fileno())
            hashlib.file_digest(opened, "sha256").hexdigest()
        copy.unlink()

    def write(_: int) -> None:
        keeping.put(ways, org, file, path="net.bin")

    def read(_: int) -> None:
        with (place / "back.bin").open("wb") as out:
            for chunk in verified(store.read(org, kept.hash, 0, SIZE), kept, 0, SIZE):
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())

    def send(number: int) -> None:
        begun = client.call("POST", "/v1/artifacts", {
            "path": f"{number}.bin", "size": SIZE, "sha256": artifact["hash"],
        })  # fmt: skip
        transfer.send(client, begun["id"], file)

    def fetch(_: int) -> None:
        transfer.fetch(client, artifact, place / "fetched.bin")

    cases = {"plain": plain, "write": write, "read": read, "send": send, "fetch": fetch}
    took = medians(interleave(rounds, cases))
    client.close()
    mb = SIZE / 1024 / 1024
    report.shown("copy, fsync and sha256 of 128 MiB, MiB/s", mb / took["plain"] * 1000, "the yardstick")
    base = took["plain"]
    report.at_most("artifact kept ÷ copy, fsync and sha256", took["write"] / base, 1.5, "folder, durable")
    report.at_most("artifact read and verified ÷ the same", took["read"] / base, 1.5, "to a file, durable")
    report.at_most(
        "artifact uploaded over HTTP ÷ the same", took["send"] / base, 3, "parts of 16 MiB, each durable"
    )
    report.at_most(
        "artifact downloaded over HTTP ÷ the same", took["fetch"] / base, 3, "hashed again by the client"
    )
