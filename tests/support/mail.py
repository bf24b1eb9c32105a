"""A mail server on this machine, spoken to over SMTP."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from typing import Any

from aiosmtpd.controller import Controller


class Mailbox:
    """Keeps what the server is handed; answers with `says`, and takes nothing unless that begins with 250."""

    def __init__(self) -> None:
        self.port = 0
        self.says = "250 OK"
        self.mails: list[tuple[list[str], Message]] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - its name in aiosmtpd
        if self.says.startswith("250"):
            self.mails.append((list(envelope.rcpt_tos), message_from_bytes(envelope.content)))
        return self.says

    def to(self, address: str) -> list[Message]:
        """What came for one address, oldest first."""
        return [mail for recipients, mail in self.mails if address in recipients]


@contextmanager
def mail_server(**options: Any) -> Iterator[Mailbox]:
    """A server that runs; `options` are those of aiosmtpd's SMTP, e.g. an authenticator."""
    box = Mailbox()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        box.port = probe.getsockname()[1]
    server = Controller(box, hostname="127.0.0.1", port=box.port, **options)
    server.start()
    try:
        yield box
    finally:
        server.stop()
