"""Apps on the command line."""

from .conftest import Line


def test_an_app_is_made_released_changed_taken_back_and_deleted(builder: Line) -> None:
    """A folder of files needs no sandbox: it is served wherever the server runs."""
    name = builder.folder.name
    made = builder.json("app", "create", name, "static", "--health", "/app.py", "--path", "src")
    assert (made["standing"], made["type"]) == ("new", "static")
    first = builder.json("app", "release", name)
    assert first["status"] == "live", first
    second = builder.json("app", "release", name)
    assert (second["number"], second["status"]) == (2, "live")
    back = builder.json("app", "rollback", name, "--reason", "too early")
    assert (back["id"], back["status"]) == (first["id"], "live")
    shown = builder.ok("app", "show", name)
    assert "rolled_back" in shown
    assert name in builder.ok("app", "list")
    changed = builder.json(
        "app", "change", name, "--idle-timeout", "60", "--role", "viewer", "--env", "A=b=c"
    )
    assert (changed["idle_timeout"], changed["policy"]["roles"]) == (60, ["viewer"])
    assert changed["env"] == {"A": "b=c"}
    assert builder("app", "change", name).code == 2
    assert builder("app", "change", name, "--env", "A").code == 2
    assert builder("app", "open", name).code == 3  # its policy lets viewers in, and nobody else
    assert builder.json("app", "logs", name, "--build")["text"] == ""
    assert builder.ok("app", "stop", name) == f"{name} is stopped\n"
    assert f"{name} starts" in builder.ok("app", "start", name)
    builder.ok("app", "change", name, "--health", "/none.txt")
    failed = builder("app", "release", name)
    assert failed.code == 1
    assert builder.ok("app", "delete", name) == f"{name} is deleted\n"
    assert builder("app", "show", name).code != 0
