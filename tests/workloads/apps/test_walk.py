"""An app from its first release to the one before: what is live answers at its own name, and nothing else does."""

from tests.support.hosting import WSGI, Dock, host_of


def test_a_release_of_a_branch_answers_at_the_apps_own_name_for_whom_it_lets_in(dock: Dock) -> None:
    sha = dock.commit({"app.py": WSGI.format(word="one")})
    app = dock.make()
    assert (app["standing"], app["current"]) == ("new", None)
    release = dock.release(app["id"])
    assert (release["commit_sha"], release["number"]) == (sha, 1)
    token = dock.token(app["id"])
    told = dock.ask(app, "/where?a=1", token=token)
    assert told.status == 200, told.body
    assert (told.status, told.json["word"], told.json["path"], told.json["query"]) == (200, "one", "/where", "a=1")
    assert told.headers["X-BuilderOS-Release"] == release["id"]
    assert "AUTHORIZATION" not in told.json["headers"]
    assert told.json["headers"]["HOST"] == host_of(app)
    assert dock.ask(app, "/").status == 401
