"""`builderos api` reaches every operation of the contract, on the wire as the contract says."""

import functools
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from builderos.client.contract import Contract
from builderos.interfaces.cli import main
from tests.support.server import Server

from .conftest import Line, begun, person_in


@pytest.fixture(scope="module")
def builder(running_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Line:
    """One for the whole module: nothing here changes the workspace."""
    return begun(person_in(running_server, tmp_path_factory.mktemp("desk")))


class Recorder:
    """Answers with the real server's contract, and to everything else with what it was asked."""

    def __init__(self, document: dict[str, Any]) -> None:
        recorder = self
        self.asked: list[tuple[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                contract = self.path == "/openapi.json" and not recorder.asked
                recorder.asked.append((self.command, self.path.partition("?")[0]))
                data = json.dumps(document if contract else {"ok": True}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def document(running_server: Server) -> dict[str, Any]:
    return running_server.client().call("GET", "/openapi.json")


@pytest.fixture
def recorder(document: dict[str, Any]) -> Iterator[Recorder]:
    made = Recorder(document)
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_every_operation_is_called_by_its_method_and_route(
    document: dict[str, Any], recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("BUILDEROS_TOKEN", "bos_ak_test")
    monkeypatch.setattr(
        json, "loads", functools.cache(json.loads)
    )  # each call reads the same contract of a megabyte
    operations = Contract(document).operations
    named = [found["operationId"] for methods in document["paths"].values() for found in methods.values()]
    assert sorted(operations) == sorted(named)
    assert len(operations) > 20
    for operation in operations.values():
        fields = [word for name in operation.in_path for word in ("-f", f"{name}=x1")]
        words = ["api", operation.name, *fields, "--url", recorder.url, "--out", str(tmp_path / "reply")]
        assert main.main(words) == 0, operation.name
        path = operation.path
        for name in operation.in_path:
            path = path.replace("{" + name + "}", "x1")
        assert recorder.asked[-1] == (operation.method, path)


def test_the_list_names_every_operation(builder: Line, document: dict[str, Any]) -> None:
    listed = {item["name"] for item in builder.json("api")["items"]}
    assert listed == set(Contract(document).operations)


def test_an_operation_describes_its_fields(builder: Line) -> None:
    fields = {f["name"]: f for f in builder.json("api", "gitLog", "--describe")["fields"]}
    assert fields["limit"]["type"] == "integer"
    assert "commit_and_log" in builder.ok("api")
    assert "message" in builder.ok("api", "commit_and_log", "--describe")


def test_fields_take_the_type_of_the_contract(builder: Line) -> None:
    repo = builder.folder.name
    reply = builder.json(
        "api", "gitLog", "-f", f"repo_name={repo}", "-f", "branch=main", "-f", "limit=1", "--as", "owner"
    )
    assert len(reply["items"]) == 1


def test_a_body_comes_from_a_file_from_stdin_or_from_the_line(builder: Line) -> None:
    body = json.dumps({"repo_name": builder.folder.name, "branch": "main", "limit": 5})
    builder.write("body.json", body)
    from_file = builder.json("api", "gitLog", "--body", "@body.json")
    from_line = builder.json("api", "gitLog", "--body", body)
    answer = builder("api", "gitLog", "--body", "-", "--json", stdin=body)
    assert from_file == from_line == answer.json
    assert builder.json("api", "gitLog", "--body", body, "-f", "limit=1")["items"][0]["sha"]


@pytest.mark.parametrize(
    "words",
    [
        ("api", "noSuchThing"),
        ("api", "gitLog", "-f", "limit"),
        ("api", "gitLog", "-f", "limit=many"),
        ("api", "gitLog", "-f", "unknown=1"),
        ("api", "gitLog", "--body", "[]"),
        ("api", "gitLog", "--body", "{"),
        ("api", "gitLog", "--body", "@nowhere.json"),
        ("api", "ackAlert"),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused_before_it_is_sent(
    builder: Line, words: tuple[str, ...]
) -> None:
    answer = builder(*words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err


def test_a_near_miss_is_named(builder: Line) -> None:
    assert "gitLog" in builder("api", "gitlog").err


def test_a_download_goes_to_stdout_or_into_a_file(builder: Line, tmp_path: Path) -> None:
    out = builder.ok("api", "exportAudit", "--as", "owner")
    assert "head" in json.loads(out.splitlines()[-1])
    reply = builder.json("api", "exportAudit", "--as", "owner", "--out", str(tmp_path / "audit.jsonl"))
    assert reply["bytes"] == (tmp_path / "audit.jsonl").stat().st_size > 0
    assert builder("api", "exportAudit", "--as", "owner", "--json").code == 2
