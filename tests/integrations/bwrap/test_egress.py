"""The proxy is the only way out: to listed hosts, by TLS with that very name, to addresses that were checked."""

import asyncio
import dataclasses
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from builderos.core.dialing import IpNetwork, networks_of, public_addresses
from builderos.core.problems import Problem
from builderos.execution.compute.schema import Egress
from builderos.integrations.bwrap.egress import Proxy, Rules
from builderos.integrations.bwrap.hello import NotTls, server_name
from tests.support.sandboxes import QUICK, Yard, until, yard_in_temp

OWN = networks_of("127.0.0.0/8")


class Upstream:
    """A server that answers whatever it is sent with `pong`, and counts who came."""

    def __init__(self) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self.heard: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._sock.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(line,), daemon=True).start()

    def _answer(self, line: socket.socket) -> None:
        with line:
            while data := line.recv(65536):
                self.heard.append(data)
                line.sendall(b"pong")

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


def hello(name: str | None) -> bytes:
    """What a real TLS client says first."""
    context = ssl.create_default_context()
    if name is None:
        context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def ask(
    rules: Rules, *parts: bytes, resolve: Callable[..., list[str]] = public_addresses
) -> tuple[bytes, Proxy]:
    """What comes back for these bytes, one after the other, each after an answer to the one before."""

    async def scene() -> tuple[bytes, Proxy]:
        proxy = Proxy(rules, resolve)
        door = socket.create_server(("127.0.0.1", 0))
        port = door.getsockname()[1]
        await proxy.serve(door)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = b""
        async with asyncio.timeout(10):
            for part in parts:
                writer.write(part)
                if not (data := await reader.read(65536)):
                    break
                answers += data
        writer.close()
        proxy.close()
        return answers, proxy

    return asyncio.run(scene())


def here(*_: object) -> list[str]:
    """Every name leads to this machine, as if its address were public."""
    return ["127.0.0.1"]


def connect(target: str) -> bytes:
    return f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode("latin-1")


@pytest.mark.parametrize(
    "line",
    [
        "CONNECT 1.1.1.1:443 HTTP/1.1", "CONNECT [::1]:443 HTTP/1.1", "CONNECT 2130706433:443 HTTP/1.1",
        "CONNECT 0x7f000001:443 HTTP/1.1", "CONNECT 127.1:443 HTTP/1.1", "CONNECT api.example.com:80 HTTP/1.1",
        "CONNECT api.example.com:8443 HTTP/1.1", "CONNECT api.example.com HTTP/1.1",
        "CONNECT api.example.com: HTTP/1.1",
        "CONNECT api.example.com:0443 HTTP/1.1", "CONNECT api.example.com.:443 HTTP/1.1",
        "CONNECT api.example.com\0.evil.test:443 HTTP/1.1", "CONNECT api.example.com%00.evil.test:443 HTTP/1.1",
        "CONNECT evil.test#api.example.com:443 HTTP/1.1", "CONNECT user@api.example.com:443 HTTP/1.1",
        "CONNECT evilapi.example.com:443 HTTP/1.1", "CONNECT api.example.com.evil.test:443 HTTP/1.1",
        "CONNECT example.com:443 HTTP/1.1", "CONNECT wild.test:443 HTTP/1.1", "CONNECT xwild.test:443 HTTP/1.1",
        "GET http://api.example.com/ HTTP/1.1", "GET https://api.example.com/ HTTP/1.1", "POST / HTTP/1.1",
        "CONNECT api.example.com:443", "CONNECT  api.example.com:443 HTTP/1.1", "CONNECT api.example.com:443 HTTP/2",
        "connect api.example.com:443 HTTP/1.1", "", "CONNECT \u00e4pi.example.com:443 HTTP/1.1",
    ],
)  # fmt: skip
def test_what_is_not_exactly_a_listed_host_is_forbidden(line: str, upstream: Upstream) -> None:
    rules = Rules(("api.example.com", "*.wild.test"), budget=1 << 20)
    answer, proxy = ask(rules, line.encode("latin-1") + b"\r\nhost: api.example.com\r\n\r\n", resolve=here)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert [kept.allowed for kept in proxy.decisions] == [False]
    assert not upstream.heard


@pytest.mark.parametrize("target", ["api.example.com", "API.Example.COM", "a.wild.test", "a.b.wild.test"])
def test_a_listed_host_is_reached_by_tls(target: str, upstream: Upstream) -> None:
    port = upstream.port
    rules = Rules((f"api.example.com:{port}", f"*.wild.test:{port}"), budget=1 << 20)
    name = hello(target.lower())
    answer, proxy = ask(rules, connect(f"{target}:{port}"), name, b"more", resolve=here)
    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\npongpong"
    assert upstream.heard == [name, b"more"]
    assert proxy.decisions == (Egress(target.lower(), port, allowed=True, why="listed"),)
    assert (proxy.sent, proxy.received) == (len(name) + 4, 8)


@pytest.mark.parametrize(
    ("first", "why"),
    [(hello("evil.test"), "TLS for another name: evil.test"), (hello(None), "TLS for another name: none"),
     (b"SSH-2.0-x\r\n", "not TLS"), (b"GET / HTTP/1.1\r\n\r\n", "not TLS"),
     (b"\x16\x03\x01\x00\x05\x02aaaa", "not TLS")],
)  # fmt: skip
def test_a_tunnel_to_another_name_or_of_another_kind_is_cut(
    first: bytes, why: str, upstream: Upstream
) -> None:
    rules = Rules((f"api.example.com:{upstream.port}",), budget=1 << 20)
    answer, proxy = ask(rules, connect(f"api.example.com:{upstream.port}"), first, resolve=here)
    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\n"
    assert [(kept.allowed, kept.why) for kept in proxy.decisions] == [(False, why)]
    assert not upstream.heard, "not a byte of it arrived"


def test_a_listed_name_that_leads_into_the_servers_network_is_forbidden(upstream: Upstream) -> None:
    rules = Rules((f"localhost:{upstream.port}",), budget=1 << 20)
    answer, proxy = ask(rules, connect(f"localhost:{upstream.port}"))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert [kept.why for kept in proxy.decisions] == ["not a public address"]


def test_the_address_that_was_checked_is_the_one_that_is_dialled(upstream: Upstream) -> None:
    asked: list[str] = []

    def rebinding(host: str, port: int, networks: Sequence[IpNetwork]) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["192.0.2.1"]

    rules = Rules((f"api.example.com:{upstream.port}",), budget=1 << 20)
    answer, _ = ask(
        rules, connect(f"api.example.com:{upstream.port}"), hello("api.example.com"), resolve=rebinding
    )
    assert answer.endswith(b"pong")
    assert asked == ["api.example.com"], "it is looked up once"


def test_an_owners_own_network_needs_no_tls(upstream: Upstream) -> None:
    rules = Rules((f"localhost:{upstream.port}",), networks=OWN, budget=1 << 20)
    answer, _ = ask(rules, connect(f"localhost:{upstream.port}"), b"GET / HTTP/1.1\r\n\r\n")
    assert answer.endswith(b"pong")


def test_the_byte_budget_ends_the_line(upstream: Upstream) -> None:
    rules = Rules((f"localhost:{upstream.port}",), networks=OWN, budget=10)
    answer, proxy = ask(rules, connect(f"localhost:{upstream.port}"), b"12345678", b"12345678", b"x")
    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\n"
    assert ("*", "byte budget spent") in [(kept.host, kept.why) for kept in proxy.decisions]


def test_the_door_of_the_weak_tier_asks_for_its_password(upstream: Upstream) -> None:
    rules = Rules((f"localhost:{upstream.port}",), networks=OWN, budget=100, password="right")
    for words in (b"", b"proxy-authorization: Basic %s\r\n" % b64encode(b"builder:wrong")):
        answer, _ = ask(rules, connect(f"localhost:{upstream.port}")[:-2] + words + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 403 ")
    good = b"Proxy-Authorization: Basic %s\r\n\r\n" % b64encode(b"builder:right")
    assert ask(rules, connect(f"localhost:{upstream.port}")[:-2] + good)[0].startswith(b"HTTP/1.1 200 ")


def test_many_decisions_are_counted_not_collected() -> None:
    proxy = Proxy(Rules(()))
    for number in range(1500):
        proxy._note(f"h{number % 1200}.test", 443, allowed=False, why="not listed")
    assert len(proxy.decisions) <= 1002
    assert sum(kept.count for kept in proxy.decisions) == 1500


@pytest.mark.parametrize("name", ["a.test", "very-long-" + "x" * 40 + ".example.com"])
def test_the_name_in_a_hello_is_read_however_it_is_cut(name: str) -> None:
    whole = hello(name)
    assert server_name(whole) == name
    assert all(server_name(whole[:cut]) is None for cut in range(len(whole)))
    body = whole[5:]
    cut = b"".join(
        b"\x16\x03\x01" + len(part).to_bytes(2) + part for part in (body[:7], body[7:90], body[90:])
    )
    assert server_name(cut) == name, "one message in several records"


def test_a_broken_hello_is_no_hello() -> None:
    whole = bytearray(hello("a.test"))
    for at in range(5, len(whole)):
        broken = whole.copy()
        broken[at] ^= 0xFF
        try:
            server_name(bytes(broken))
        except NotTls:
            continue


# ---------------------------------------------------------------- from inside


@pytest.fixture(scope="module", params=["strong", "weak"])
def yard(request: pytest.FixtureRequest) -> Iterator[Yard]:
    with yard_in_temp(request.param, networks="127.0.0.0/8") as made:
        yield made.needed()


FETCH = """
import os, sys, urllib.request
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try: print(direct.open("http://localhost:%d/", timeout=3).read())
except OSError as error: print("direct:", type(error).__name__)
import base64, socket
from urllib.parse import urlsplit
proxy = urlsplit(os.environ["HTTPS_PROXY"])
line = socket.create_connection((proxy.hostname, proxy.port), 5)
word = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
line.sendall(f"CONNECT {sys.argv[1]} HTTP/1.1\\r\\nproxy-authorization: Basic {word}\\r\\n\\r\\n".encode())
print(line.recv(999).split(b"\\r\\n")[0].decode())
line.sendall(b"ping"); print(line.recv(99))
"""


def test_a_command_reaches_listed_hosts_through_the_proxy_and_nothing_else(
    yard: Yard, upstream: Upstream
) -> None:
    code = FETCH % upstream.port
    done = yard.run(
        "python3", "-c", code, f"localhost:{upstream.port}", hosts=(f"localhost:{upstream.port}",)
    )
    text = yard.text(done)
    assert "direct: URLError" in text
    assert "HTTP/1.1 200 Connection established\nb'pong'" in text
    assert upstream.heard == [b"ping"]
    assert done.result is not None
    assert done.result.egress == (Egress("localhost", upstream.port, allowed=True, why="listed"),)
    assert (done.result.use.network_sent, done.result.use.network_received) == (4, 4)


def test_a_refused_connection_stands_in_the_result(yard: Yard, upstream: Upstream) -> None:
    code = FETCH % upstream.port
    done = yard.run("python3", "-c", code, "other.test:443", hosts=(f"localhost:{upstream.port}",))
    assert "HTTP/1.1 403 Forbidden" in yard.text(done)
    assert done.result is not None
    assert done.result.egress == (Egress("other.test", 443, allowed=False, why="not listed"),)
    assert not upstream.heard


def test_without_hosts_there_is_no_proxy(yard: Yard) -> None:
    assert "proxy" not in yard.text(yard.run("env")).lower()


def test_a_proxy_ends_with_its_command(yard: Yard, upstream: Upstream) -> None:
    code = (
        "import os, socket, time\nfrom urllib.parse import urlsplit\n"
        "proxy = urlsplit(os.environ['HTTPS_PROXY'])\n"
        "line = socket.create_connection((proxy.hostname, proxy.port), 5)\nprint('up', flush=True)\ntime.sleep(600)"
    )
    limits = dataclasses.replace(QUICK, wall_s=0.8, grace_s=0.1)
    done = yard.run("python3", "-c", code, hosts=("localhost:443",), limits=limits)
    assert done.state == "timeout"


MANY = """
import os, socket, time
from urllib.parse import urlsplit
proxy = urlsplit(os.environ['HTTPS_PROXY'])
lines = []
for _ in range(400):
    try: lines.append(socket.create_connection((proxy.hostname, proxy.port), 5))
    except OSError: pass
print('up', flush=True)
time.sleep(600)
"""


def test_connections_without_number_take_nothing_from_others(yard: Yard, upstream: Upstream) -> None:
    greedy = yard.provider.start(yard.spec("python3", "-c", MANY, hosts=("localhost:443",)))
    yard.until_printed(greedy, "up")
    keeper = yard.provider._keeper
    assert keeper is not None
    until(lambda: len(list(Path(f"/proc/{keeper.process.pid}/fd").iterdir())) < 300)
    code = FETCH % upstream.port
    hosts = (f"localhost:{upstream.port}",)
    done = yard.run("python3", "-c", code, f"localhost:{upstream.port}", hosts=hosts)
    assert "HTTP/1.1 200 Connection established" in yard.text(done)
    yard.provider.kill(greedy.id, 0)
    ended = yard.provider.wait(greedy.id, 120).result
    assert ended is not None
    assert "too many connections at once" in {line.why for line in ended.egress}


def test_slow_lookups_of_one_command_leave_threads_to_others() -> None:
    async def scene() -> int:
        most, running = 0, 0
        lock, go = threading.Lock(), threading.Event()

        def slow(*_: object) -> list[str]:
            nonlocal most, running
            with lock:
                running += 1
                most = max(most, running)
            go.wait(120)
            with lock:
                running -= 1
            return []

        proxy = Proxy(Rules(("*.slow.test",), budget=1 << 20), slow)
        door = socket.create_server(("127.0.0.1", 0))
        await proxy.serve(door)
        writers: list[asyncio.StreamWriter] = []
        for number in range(8):
            _, writer = await asyncio.open_connection(*door.getsockname())
            writer.write(connect(f"h{number}.slow.test:443"))
            writers.append(writer)
        while running < 2:  # noqa: ASYNC110  a thread of the pool counts
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        go.set()
        for writer in writers:
            writer.close()
        proxy.close()
        return most

    assert asyncio.run(scene()) == 2


def test_networks_that_are_none_are_refused_when_the_server_starts(tmp_path: Path) -> None:
    from builderos.integrations.bwrap.service import LocalSandboxes

    with pytest.raises((ValueError, Problem)):
        LocalSandboxes(tmp_path, networks="10.0.0.0/33")
