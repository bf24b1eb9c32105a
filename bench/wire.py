"""A client that costs next to nothing: one kept connection, prepared bytes, the standard library.

Also the load program: `python -S -m bench.wire PORT TOKEN REPO BRANCH SEED` commits as fast as it is answered, for as
long as it is told on stdin.
"""

import json
import random
import socket
import sys
import time
from typing import Any

FOLDERS, PER_FOLDER = 40, 50
FILE_BYTES = 4096
IDLE_S = 3  # the server hangs up on a connection that was idle for five seconds


def path_of(number: int) -> str:
    """One of the 2,000 files of the measured repository."""
    number %= FOLDERS * PER_FOLDER
    return f"src/part{number // PER_FOLDER:02d}/file{number % PER_FOLDER:02d}.py"


def text_of(seed: object) -> str:
    """4 kB of text that compresses about as source does."""
    dice = random.Random(str(seed))
    words = [dice.randbytes(4).hex() for _ in range(60)]
    lines: list[str] = []
    size = 0
    while size < FILE_BYTES:
        line = " ".join(dice.choices(words, k=8))
        lines.append(line)
        size += len(line) + 1
    return "\n".join(lines)[: FILE_BYTES - 1] + "\n"


_TEXTS = [text_of(number) for number in range(64)]


def fresh_text(seed: object) -> str:
    """4 kB that no commit before had, at no cost to the measured call."""
    return f"{seed}\n{_TEXTS[hash(seed) % 64]}"


class Wire:
    """One kept HTTP/1.1 connection to the server on the loopback."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self._port = port
        self._connect()
        self._head = f"Host: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        if token is not None:
            self._head += f"Authorization: Bearer {token}\r\n"
        self._rest = b""

    def post(self, path: str, body: dict[str, Any]) -> bytes:
        """Send one call and return the reply's body; raises RuntimeError for anything but success."""
        data = json.dumps(body).encode()
        return self._send(
            f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(data)}\r\n\r\n".encode() + data
        )

    def get(self, path: str) -> bytes:
        """Ask for one thing; raises RuntimeError for anything but success."""
        return self._send(f"GET {path} HTTP/1.1\r\n{self._head}\r\n".encode())

    def commit(self, repo: str, branch: str, number: int, seed: object) -> bytes:
        """Overwrite one 4 kB file."""
        body = {"repo_name": repo, "branch": branch, "file_path": path_of(number), "content": fresh_text(seed),
                "message": f"Change {number}"}  # fmt: skip
        return self.post("/commit_and_log_output", body)

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._used = time.monotonic()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _send(self, request: bytes) -> bytes:
        if time.monotonic() - self._used > IDLE_S:
            self.close()
            self._connect()
        self._socket.sendall(request)
        data = self._rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head = data[:end].lower()
        at = head.index(b"content-length:") + 15
        stop = head.find(b"\r", at)
        length = int(head[at : stop if stop >= 0 else len(head)])
        body = data[end + 4 :]
        while len(body) < length:
            body += self._more()
        self._used = time.monotonic()
        body, self._rest = body[:length], body[length:]
        if head[9:10] != b"2":
            raise RuntimeError(f"{head[:40]!r}: {body[:500]!r}")
        return body

    def _more(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise RuntimeError("the server hung up")
        return data


def main() -> None:
    """Commit for the number of seconds that each line on stdin says; answer each with the number of commits."""
    port, token, repo, branch, seed = sys.argv[1:]
    wire = Wire(int(port), token)
    number = int(seed) * 131
    print("ready", flush=True)
    for line in sys.stdin:
        done, until = 0, time.monotonic() + float(line)
        while time.monotonic() < until:
            number += 1
            body = {"repo_name": repo, "branch": branch, "file_path": path_of(number), "message": "Change a file",
                    "content": fresh_text((seed, number))}  # fmt: skip
            wire.post("/commit_and_log_output", body)
            done += 1
        print(done, flush=True)


if __name__ == "__main__":
    main()
