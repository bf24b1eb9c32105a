"""Agents on the command line."""

from .conftest import Line

OWN = "name: mason\nrole: Mason\nprompt_ref: builder\ntoolset: [read_file]\n"


def test_agents_are_listed_and_shown_as_files_that_people_copy(builder: Line) -> None:
    assert "DataEngineer" in builder.ok("agent", "list")
    text = builder.ok("agent", "show", "reviewer", "--file")
    assert text.startswith("# Copy this file to agents/reviewer.yaml")
    builder.write("agents/reviewer.yaml", text.replace("version: 1.0.0", "version: 1.2.0"))
    builder.write("agents/mason.yaml", OWN)
    builder.ok("commit", "agents/reviewer.yaml", "agents/mason.yaml", "-m", "Our own")
    assert builder.json("agent", "show", "reviewer")["version"] == "1.2.0"
    found = {item["name"]: item["source"] for item in builder.json("agent", "list")["items"]}
    assert (found["mason"], found["builder"]) == ("agents/mason.yaml", "shipped")
    assert "read_file" in builder.ok("agent", "show", "mason")


def test_an_agent_whose_model_does_not_exist_fails_and_says_so(builder: Line) -> None:
    builder.write("agents/lost.yaml", OWN.replace("mason", "lost") + "model: nowhere/none\n")
    builder.ok("commit", "agents/lost.yaml", "-m", "Lost")
    done = builder("agent", "run", "lost", "Look around", "--follow")
    assert done.code == 1
    run = builder.json("run", "list", "--limit", "1")["items"][0]
    step = builder.json("run", "show", run["id"])["timeline"]["items"][0]
    assert "there is no model nowhere/none" in step["error"]
    assert [call["status"] for call in builder.json("agent", "calls", step["id"])["items"]] == ["begun"]
    assert "begun" in builder.ok("agent", "calls", step["id"])
    assert "the next one hears them" in builder.ok("agent", "comment", run["id"], "src/a.py:3", "Why?")
    builder.ok("agent", "comment", run["id"], "src/b.py", "Keep it.", "--old")
    said = builder.json("agent", "comments", run["id"])["items"]
    assert [(one["path"], one["line"], one["side"]) for one in said] == [
        ("src/a.py", 3, "new"), ("src/b.py", None, "old"),
    ]  # fmt: skip
    assert "Keep it." in builder.ok("agent", "comments", run["id"])
    for verb in (("tell", step["id"], "Hello"), ("interrupt", step["id"])):
        refused = builder("agent", *verb)
        assert refused.code == 1
        assert "no agent works" in refused.out + refused.err
