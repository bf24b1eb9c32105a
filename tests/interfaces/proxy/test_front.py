"""The listener of the door to sessions."""

import logging
import socket

import pytest

from builderos.core.context import Context
from builderos.core.settings import Settings
from builderos.interfaces.proxy import guarding
from builderos.interfaces.proxy.front import Front, listen
from builderos.workloads.sessions.ports import Address
from tests.support.servers import until

ID = "nbs_" + "0" * 26


@pytest.fixture
def front() -> Front:
    """One that answers, with nothing behind it."""
    context = Context()
    context.put(Settings, settings := Settings(host="127.0.0.1"))
    context.put(Address, Address())
    made = Front(context)
    made.open(listen(settings, 65535))
    return made


def test_a_door_that_cannot_be_opened_hangs_up_on_who_knocks_and_names_no_address_any_more(
    front: Front, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(context: Context, port: int) -> None:
        raise OSError("there is no more room")

    monkeypatch.setattr(guarding, "Guard", broken)
    address, port = front._context.get(Address), front.port
    assert address.url_of(ID) is not None
    with (
        caplog.at_level(logging.ERROR, "builderos.proxy"),
        socket.create_connection(("127.0.0.1", port)) as line,
    ):
        line.settimeout(300)
        try:
            assert line.recv(1) == b""
        except ConnectionResetError:
            pass
        until(lambda: front.port == 0)
    until(lambda: address.url_of(ID) is None)
    assert "there is no more room" in caplog.text
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()
    front.close()


def test_one_at_which_nobody_knocked_closes_and_names_no_address_any_more(front: Front) -> None:
    address = front._context.get(Address)
    front.close()
    assert (front.port, address.url_of(ID)) == (0, None)
