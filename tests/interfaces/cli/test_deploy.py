"""Deployments on the command line."""

import urllib.request

from .conftest import Line

SITE = "version: 1\nstatic: {folder: site}\nbuild: echo built\n"


def test_a_branch_is_deployed_looked_at_taken_back_and_stopped(builder: Line) -> None:
    builder.write("deploy.yaml", SITE)
    ids: list[str] = []
    for word in ("one", "two"):
        builder.write("site/index.html", word)
        builder.ok("commit", "deploy.yaml", "site/index.html", "-m", "A site")
        done = builder("deploy", "preview", "--follow")
        assert done.code == 0, done
        assert "preview: succeeded" in done.out.splitlines()
        assert "verify: succeeded" in done.out.splitlines()
        ids.append(builder.json("deploy", "list", "--status", "live")["items"][0]["id"])
    shown = builder.json("deploy", "show", ids[1])
    assert (shown["status"], shown["replaces"]) == ("live", ids[0])
    assert urllib.request.urlopen(shown["url"], timeout=120).read() == b"two"
    assert shown["url"] in builder.ok("deploy", "show", ids[1])
    assert builder.ok("deploy", "logs", ids[1]) == "built\n"
    assert builder("deploy", "health", ids[1]).code == 0
    assert builder.ok("deploy", "rollback", ids[1], "--reason", "One was better").startswith(
        f"{ids[0]} is live"
    )
    assert builder("deploy", "rollback", ids[1]).code == 1
    assert builder.ok("deploy", "stop", ids[0]) == f"{ids[0]} is stopped\n"
    assert "preview" in builder.ok("deploy", "list")


def test_what_cannot_be_deployed_ends_with_one(builder: Line) -> None:
    builder.write("README.md", "nothing to deploy")
    builder.ok("commit", "README.md", "-m", "Words")
    done = builder("deploy", "--follow")
    assert done.code == 1
    assert "no deploy.yaml" in done.out + done.err
