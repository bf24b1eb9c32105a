"""What stands between a browser and a deployment: addresses, headers, files, processes."""

import asyncio
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from builderos.core.problems import Problem
from builderos.execution.compute.schema import Limits
from builderos.workloads.deployments.ports import Check, Release, Site
from tests.support.deployers import QUICK, Quay, get, local_quay
from tests.support.sandboxes import until

ECHO = """
import asyncio, base64, hashlib, os, sys
async def one(reader, writer):
    head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode("latin-1")
    words = dict(line.split(": ", 1) for line in head.split("\\r\\n")[1:] if ": " in line)
    key = {k.lower(): v for k, v in words.items()}.get("sec-websocket-key")
    if key is None:
        body = head.encode()
        writer.write(b"HTTP/1.1 200 OK\\r\\nset-cookie: a=1\\r\\nset-cookie: b=2\\r\\nconnection: close\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body)
        await writer.drain(); writer.close(); return
    proof = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
    writer.write(("HTTP/1.1 101 Switching Protocols\\r\\nupgrade: websocket\\r\\nconnection: Upgrade\\r\\nsec-websocket-accept: " + proof + "\\r\\n\\r\\n").encode())
    while True:
        first, size = await reader.readexactly(2)
        size &= 127
        if size == 126: size = int.from_bytes(await reader.readexactly(2), "big")
        mask = await reader.readexactly(4)
        data = bytes(c ^ mask[i % 4] for i, c in enumerate(await reader.readexactly(size)))
        if first & 15 == 8: writer.close(); return
        back = data[::-1]
        length = bytes([len(back)]) if len(back) < 126 else bytes([126]) + len(back).to_bytes(2, "big")
        writer.write(bytes([0x80 | (first & 15)]) + length + back); await writer.drain()
async def main():
    server = await asyncio.start_server(one, "127.0.0.1", int(os.environ["PORT"]))
    await server.serve_forever()
asyncio.run(main())
"""  # noqa: E501


@pytest.fixture(scope="module")
def quay() -> Iterator[Quay]:
    with local_quay() as made:
        yield made


@pytest.fixture(scope="module")
def echo(quay: Quay) -> str:
    """A server that says what it was asked, and turns around what a socket sends."""
    folder = quay.lay({"echo.py": ECHO})
    release = Release(
        "dep_echo", quay.place(), "preview", folder, command="exec python3 echo.py", limits=QUICK
    )
    return quay.live(release).url


SITE = {
    "site/index.html": "<p>home</p>", "site/a/index.html": "a", "site/a/data.json": "{}", "site/.hidden": "no",
    "site/.well-known/x": "known", "site/app.js": "js", "site/blob.bin": "b", "site/sp ace.txt": "space",
    "outside.txt": "outside", "site/page.html.gz": "packed",
}  # fmt: skip


@pytest.fixture(scope="module")
def site(quay: Quay) -> str:
    release = quay.site(quay.place(), SITE, site=Site("site"))
    folder = Path(release.folder)
    (folder / "site" / "link.txt").symlink_to(folder / "outside.txt")
    (folder / "site" / "way").symlink_to(folder)
    return quay.live(release).url


@pytest.mark.parametrize(
    ("path", "status", "type_"),
    [
        ("/", 200, "text/html; charset=utf-8"), ("/?x=1", 200, "text/html; charset=utf-8"),
        ("/a/", 200, "text/html; charset=utf-8"), ("/a/data.json", 200, "application/json; charset=utf-8"),
        ("/app.js", 200, "text/javascript; charset=utf-8"), ("/blob.bin", 200, "application/octet-stream"),
        ("/page.html.gz", 200, "application/octet-stream"), ("/sp%20ace.txt", 200, "text/plain; charset=utf-8"),
        ("/.well-known/x", 200, "application/octet-stream"),
        ("/none", 404, None), ("/.hidden", 404, None), ("/a/../.hidden", 404, None), ("/../outside.txt", 404, None),
        ("/%2e%2e/outside.txt", 404, None), ("/..%2foutside.txt", 404, None), ("/link.txt", 404, None),
        ("/way/outside.txt", 404, None), ("//a/", 404, None), ("/a\\data.json", 404, None), ("/%00", 404, None),
        ("/%ff", 404, None), ("/a/data.json/", 404, None), ("/a%2fdata.json", 200, "application/json; charset=utf-8"),
    ],
)  # fmt: skip
def test_files_are_given_as_they_are_and_nothing_else(
    site: str, path: str, status: int, type_: str | None
) -> None:
    got = get(site, path)
    assert got.status == status
    if type_ is not None:
        assert got.headers["content-type"] == type_
        assert got.headers["x-content-type-options"] == "nosniff"
    assert "outside" not in got.text
    assert got.text != "no"


def test_a_folder_without_its_slash_is_pointed_to_on_the_same_site(site: str) -> None:
    got = get(site, "/a")
    assert (got.status, got.headers["location"]) == (308, "a/")


def test_what_a_browser_has_already_is_not_sent_again(site: str) -> None:
    first = get(site, "/app.js")
    again = get(site, "/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status, again.text) == (304, "")
    assert get(site, "/a/", headers={"If-None-Match": first.headers["etag"]}).status == 200


def test_head_tells_the_size_and_other_methods_are_refused(site: str) -> None:
    got = get(site, "/app.js", "HEAD")
    assert (got.status, got.headers["content-length"], got.text) == (200, "2", "")
    refused = get(site, "/app.js", "POST", b"x")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


def test_a_fallback_answers_for_paths_that_are_not_there(quay: Quay) -> None:
    files = {"index.html": "app", "x.txt": "x"}
    url = quay.live(quay.site(quay.place(), files, site=Site("", "index.html"))).url
    assert [get(url, path).text for path in ("/deep/link", "/x.txt")] == ["app", "x"]


def test_a_site_without_the_file_that_is_asked_for_is_not_well(quay: Quay) -> None:
    release = quay.site(quay.place(), {"other.html": "x"}, check=Check("/", within_s=0.2))
    quay.deployer.deploy(release)
    assert "answered 404" in quay.until(release.ref).detail


def test_a_site_without_its_folder_fails_in_words(quay: Quay) -> None:
    release = quay.site(quay.place(), {"a": "x"}, site=Site("site"))
    quay.deployer.deploy(release)
    assert quay.until(release.ref).stage == "failed"


# ---------------------------------------------------------------- the relay


def test_a_name_that_was_made_to_point_here_gets_nothing(echo: str) -> None:
    for host in ("evil.example", "127.0.0.1", "localhost:80"):
        assert get(echo, "/", headers={"Host": host}).status == 421


def test_what_a_client_says_of_itself_is_not_believed(echo: str) -> None:
    sent = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil", "Connection": "x-private, keep-alive",
            "X-Private": "1", "X-Own": "2", "Cookie": "theirs=1"}  # fmt: skip
    got = get(echo, "/a%2Fb/..;x?q=%20", headers=sent)
    assert got.text.startswith("GET /a%2Fb/..;x?q=%20 HTTP/1.1"), "the path arrives as it was sent"
    said = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in got.text.splitlines()}
    assert said["x-forwarded-host"] == urlsplit(echo).netloc == said["host"]
    assert "6.6.6.6" not in got.text
    assert "x-private" not in said
    assert (said["x-own"], said["cookie"]) == ("2", "theirs=1")


def test_each_of_several_headers_of_one_name_arrives(echo: str) -> None:
    async def cookies() -> list[str]:
        async with aiohttp.ClientSession() as session, session.get(echo) as reply:
            return reply.headers.getall("Set-Cookie")

    assert asyncio.run(cookies()) == ["a=1", "b=2"]


def test_a_socket_is_carried_both_ways(echo: str) -> None:
    async def talk() -> list[object]:
        async with aiohttp.ClientSession() as session, session.ws_connect(echo) as line:
            await line.send_str("abc")
            heard: list[object] = [(await line.receive()).data]
            await line.send_bytes(b"x" * 500 + b"y")
            return [*heard, (await line.receive()).data]

    assert asyncio.run(talk()) == ["cba", b"y" + b"x" * 500]


def test_a_request_that_could_be_two_is_refused(echo: str) -> None:
    place = urlsplit(echo)
    with socket.create_connection((str(place.hostname), place.port), timeout=120) as line:
        line.sendall(
            f"POST / HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        assert b" 400 " in line.recv(65536).split(b"\r\n")[0]


def test_places_have_addresses_of_their_own_on_loopback(echo: str, site: str) -> None:
    hosts = {urlsplit(url).hostname for url in (echo, site)}
    assert len(hosts) == 2
    assert all(re.fullmatch(r"127\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.\d+\.\d+", str(host)) for host in hosts)


# ---------------------------------------------------------------- processes


def processes(word: str) -> list[int]:
    """Processes whose command line has this word."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (folder / "cmdline").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        except OSError:
            continue  # it is gone meanwhile
    return found


def test_nothing_of_a_stopped_version_goes_on(quay: Quay) -> None:
    command = "sleep 98761 & setsid sleep 98761 & exec python3 server.py"
    release = quay.server(quay.place(), "one", command=command)
    quay.live(release)
    assert processes("98761")
    quay.deployer.stop(release.ref)
    until(lambda: not processes("98761"))


def test_a_version_that_uses_too_much_memory_is_ended(quay: Quay) -> None:
    limits = Limits(memory=96 * 1024 * 1024, pids=32, grace_s=0.2)
    eats = "b = bytearray(600 << 20)\nfor i in range(0, len(b), 4096): b[i] = 1\n"
    release = quay.server(quay.place(), "one", limits=limits, command=f"python3 -c '{eats}'")
    quay.deployer.deploy(release)
    failed = quay.until(release.ref)
    assert failed.stage == "failed"
    assert "more memory" in failed.detail


def test_a_version_cannot_change_its_own_files(quay: Quay) -> None:
    release = quay.server(
        quay.place(), "one", command="echo x > word.txt || echo refused; exec python3 server.py"
    )
    url = quay.live(release).url
    assert get(url).text.startswith("one")
    until(lambda: b"refused" in quay.deployer.logs(release.ref).data)


def test_a_version_reaches_nothing_outside(quay: Quay, site: str) -> None:
    place = urlsplit(site)
    look = (
        f"python3 -c \"import socket; socket.create_connection(('{place.hostname}', {place.port}), 2)\" "
        "|| echo shut; exec python3 server.py"
    )
    release = quay.server(quay.place(), "one", command=look)
    quay.live(release)
    until(lambda: b"shut" in quay.deployer.logs(release.ref).data)


def test_a_version_comes_back_after_its_process_ended(quay: Quay) -> None:
    release = quay.server(quay.place(), "one")
    url = quay.live(release).url
    with pytest.raises((OSError, AssertionError)):
        assert get(url, "/crash").status == 200
    until(lambda: get(url).status == 200)


def test_a_version_is_either_files_or_a_command(quay: Quay) -> None:
    with pytest.raises(Problem) as refused:
        quay.deployer.deploy(Release("dep_x", quay.place(), "preview", "/tmp"))
    assert refused.value.code == "validation_failed"


def is_forgotten(quay: Quay, ref: str) -> bool:
    try:
        quay.deployer.status(ref)
    except Problem as problem:
        return problem.code == "not_found"
    return False


def test_a_version_whose_time_behind_another_is_over_is_forgotten() -> None:
    with local_quay(warm_s=0.2) as quay:
        place = quay.place()
        one = quay.server(place, "one", command="sleep 98762 & exec python3 server.py")
        quay.live(one)
        quay.live(quay.server(place, "two"))
        until(lambda: not processes("98762"))
        until(lambda: is_forgotten(quay, one.ref))
        with pytest.raises(Problem) as refused:
            quay.deployer.rollback(place)
        assert refused.value.code == "conflict"
