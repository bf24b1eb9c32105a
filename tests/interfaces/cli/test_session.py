"""Notebooks and shells on the command line."""

from tests.support.servers import until

from .conftest import Line


def test_a_session_is_started_looked_at_and_started_again(builder: Line) -> None:
    """This machine's own system has no server of notebooks: that is told, and nothing else breaks."""
    id_ = builder.json("session", "start", "shell", "--idle-timeout", "60")["id"]
    until(lambda: builder.json("session", "show", id_)["status"] == "failed")
    shown = builder.json("session", "show", id_)
    assert (shown["kind"], shown["idle_timeout"], shown["reason"]) == ("shell", 60, "exit")
    assert shown["detail"] == "the runtime does not bring jupyter-server"
    assert "jupyter-server" in builder.ok("session", "logs", id_)
    assert id_ in builder.ok("session", "list", "--status", "failed")
    assert builder("session", "open", id_).code == 1
    assert builder("session", "checkpoint", id_).code == 1
    assert builder("session", "stop", id_).code == 1
    assert builder.ok("session", "restart", id_) == f"{id_} is starting again\n"
    until(lambda: builder.json("session", "show", id_)["status"] == "failed")
    assert builder.json("session", "show", id_)["starts"] == 2
    assert builder("session", "start", "--runtime", "unknown").code != 0
