"""Packs carry versions with their hashes from one organisation to another; whatever is unsound changes nothing."""

import base64
import hashlib
import io
import json
import stat
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from builderos.assets.prompts.archive import MAX_FILES, unpack, zipped
from builderos.core.problems import Problem
from tests.support.databases import Databases
from tests.support.world import Json, World, world_in_temp

STYLE = "name: style\nversion: 1.0.0\nchangelog: First.\ninputs: {goal: string}\ntemplate: Be brief about {{ goal }}.\n"
OUTER = (
    "name: outer\nversion: 1.0.0\nchangelog: First.\ninputs: {goal: string}\npartials: [style@1.0.0]\n"
    "template: '{{> style }} Now.'\n"
)


@pytest.fixture(scope="module")
def giver(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database) as made:
        for content in (STYLE, OUTER):
            made.ok(made.as_owner("POST", "/v1/prompts", json={"content": content}), 201)
        yield made


@pytest.fixture(scope="module")
def taker(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database) as made:
        yield made


def export(world: World, *refs: str) -> bytes:
    reply = world.as_owner("POST", "/v1/prompts/export", json={"prompts": list(refs)})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/zip"
    return reply.content


def send(world: World, data: bytes, **more: Any) -> Any:
    body = {"content": base64.b64encode(data).decode(), **more}
    return world.as_owner("POST", "/v1/prompts/import", json=body)


def names(world: World) -> list[str]:
    return [item["name"] for item in world.ok(world.as_owner("GET", "/v1/prompts"))["items"] if item["id"]]


def files_in(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def rehashed(files: dict[str, bytes], **prompts: str) -> bytes:
    """A pack whose file hashes are right again."""
    said: Json = json.loads(files["pack.json"])
    said["files"] = {p: hashlib.sha256(d).hexdigest() for p, d in files.items() if p != "pack.json"}
    said["prompts"] |= prompts
    return zipped({**files, "pack.json": json.dumps(said).encode()})


def test_a_pack_is_the_same_bytes_every_time_and_keeps_hashes(giver: World, taker: World) -> None:
    data = export(giver, "outer")
    assert export(giver, "outer@^1") == data
    looked = taker.ok(send(taker, data, dry_run=True), 200)
    assert (looked["published"], names(taker)) == (["style@1.0.0", "outer@1.0.0"], [])

    first, second = taker.ok(send(taker, data), 201), taker.ok(send(taker, data), 200)
    assert first["published"] == second["unchanged"] == ["style@1.0.0", "outer@1.0.0"]
    for name in ("style", "outer"):
        here, there = (world.ok(world.as_owner("GET", f"/v1/prompts/{name}")) for world in (taker, giver))
        assert here["sha256"] == there["sha256"]
        assert here["source"]["publisher"] == giver.org_id
    assert files_in(export(taker, "outer"))["prompts/outer@1.0.0.yaml"] == OUTER.encode()


def test_a_pack_whose_partial_differs_here_is_refused_whole(giver: World, databases: Databases) -> None:
    with databases.fresh() as database, world_in_temp(database) as other:
        mine = STYLE.replace("brief", "long")
        other.ok(other.as_owner("POST", "/v1/prompts", json={"content": mine}), 201)
        data = export(giver, "outer")
        other.problem(send(other, data), "version_exists")
        files = files_in(data)
        del files["prompts/style@1.0.0.yaml"]
        said = json.loads(files["pack.json"])
        del said["prompts"]["style@1.0.0"]
        files["pack.json"] = json.dumps(said).encode()
        problem = other.problem(send(other, rehashed(files)), "validation_failed")
        assert problem["prompts"] == ["outer@1.0.0"]
        assert names(other) == ["style"]


def entry(
    name: str, mode: int = stat.S_IFREG | 0o644, data: bytes = b"x"
) -> Callable[[zipfile.ZipFile], None]:
    def add(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, mode << 16
        archive.writestr(info, data)

    return add


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("../evil.yaml", "invalid_path"),
        ("prompts/../../evil.yaml", "invalid_path"),
        ("/etc/passwd", "invalid_path"),
        ("C:/evil.yaml", "invalid_path"),
        ("prompts\\evil@1.0.0.yaml", "invalid_path"),
        ("prompts//evil@1.0.0.yaml", "invalid_path"),
        ("prompts/./evil@1.0.0.yaml", "invalid_path"),
        ("prompts/evil@1.0.0.yaml/", "invalid_path"),
        ("prompts/evil@1.0.yaml", "invalid_path"),
        ("prompts/Evil@1.0.0.yaml", "invalid_path"),
        ("other/evil@1.0.0.yaml", "invalid_path"),
        ("prompts/evil@1.0.0.yml", "invalid_path"),
    ],
)
def test_a_place_that_no_pack_has_is_refused(giver: World, taker: World, path: str, code: str) -> None:
    assert_refused(giver, taker, entry(path), code)


@pytest.mark.parametrize(
    "mode", [stat.S_IFLNK | 0o777, stat.S_IFDIR | 0o755, stat.S_IFIFO | 0o644, stat.S_IFCHR]
)
def test_what_is_no_plain_file_is_refused(giver: World, taker: World, mode: int) -> None:
    assert_refused(giver, taker, entry("prompts/evil@1.0.0.yaml", mode, b"/etc/passwd"), "validation_failed")


def assert_refused(giver: World, taker: World, add: Callable[[zipfile.ZipFile], None], code: str) -> None:
    out = io.BytesIO(export(giver, "outer"))
    with zipfile.ZipFile(out, "a") as archive:
        add(archive)
    before = names(taker)
    taker.problem(send(taker, out.getvalue()), code)
    assert names(taker) == before


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(3):
            archive.writestr(f"prompts/bomb@1.0.{n}.yaml", bytes(20_000_000))
    assert len(out.getvalue()) < 1_000_000
    with pytest.raises(Problem) as error:
        unpack(out.getvalue())
    assert error.value.code == "payload_too_large"


def test_a_size_that_lies_is_found() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("prompts/bomb@1.0.0.yaml", bytes(1_000_000))
    lying = out.getvalue().replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(Problem) as error:
        unpack(lying)
    assert error.value.code == "validation_failed"


def test_too_many_files_are_refused() -> None:
    files = {f"prompts/p@1.0.{n}.yaml": b"" for n in range(MAX_FILES + 1)}
    with pytest.raises(Problem) as error:
        unpack(zipped(files))
    assert error.value.code == "payload_too_large"


def test_two_files_of_one_name_are_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry("prompts/p@1.0.0.yaml")(archive)
        with pytest.warns(UserWarning, match="Duplicate"):
            entry("prompts/p@1.0.0.yaml")(archive)
    with pytest.raises(Problem, match="twice"):
        unpack(out.getvalue())


@pytest.mark.parametrize("data", [b"", b"PK", b"\x00" * 100, b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_zip_is_refused(data: bytes) -> None:
    with pytest.raises(Problem) as error:
        unpack(data)
    assert error.value.code == "validation_failed"


def test_a_changed_file_is_not_what_the_pack_says(giver: World, taker: World) -> None:
    files = files_in(export(giver, "outer"))
    files["prompts/style@1.0.0.yaml"] += b"# one more line\n"
    assert "is not what" in taker.problem(send(taker, zipped(files)), "validation_failed")["detail"]
    files["prompts/style@1.0.0.yaml"] = STYLE.replace("brief", "long").encode()
    problem = taker.problem(send(taker, rehashed(files)), "validation_failed")
    assert problem["prompts"] == ["outer@1.0.0", "style@1.0.0"]


@pytest.mark.parametrize("at", range(0, 900, 60))
def test_a_pack_with_one_other_byte_never_publishes_something_else(giver: World, at: int) -> None:
    data = bytearray(export(giver, "outer"))
    data[at % len(data)] ^= 0x01
    try:
        manifest, files = unpack(bytes(data))
    except Problem:
        return
    assert {key: text.encode() for key, text in files.items()} == {
        ("outer", "1.0.0"): OUTER.encode(), ("style", "1.0.0"): STYLE.encode(),
    }  # fmt: skip
    assert manifest.prompts
