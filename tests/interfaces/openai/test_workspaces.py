"""Who may use models from a workspace: whoever is known to have opened it stands for what it asks."""

from typing import Any

from tests.support.gateways import Models
from tests.support.world import Json

ASKED = {"model": "quick", "messages": [{"role": "user", "content": "hi"}]}


def opened(models: Models, bearer: str | None, **body: Any) -> Json:
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    return models.world.ok(
        models.world.http.post("/sandbox/init", json={"repo_name": "lab", **body}, headers=headers)
    )


def ask(models: Models, token: str) -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    return models.world.http.post("/openai/v1/chat/completions", json=ASKED, headers=headers)


def newest(models: Models) -> Json:
    models.rows()
    return models.world.ok(models.world.as_owner("GET", "/v1/ai/usage", params={"limit": 1}))["items"][0]


def key(models: Models, bearer: str) -> str:
    body = {"label": "site", "scopes": ["read", "write"]}
    headers = {"Authorization": f"Bearer {bearer}"}
    return models.world.ok(models.world.http.post("/v1/api-keys", json=body, headers=headers))["api_key"]


def owner_id(models: Models) -> str:
    return models.world.ok(models.world.as_owner("GET", "/v1/me"))["id"]


def test_a_workspace_of_the_local_owner_uses_models_and_its_row_says_whose_it_is(models: Models) -> None:
    made = opened(models, models.world.owner_token)
    assert ask(models, made["reuse_token"]).status_code == 200
    row = newest(models)
    assert row["opened_by"] == owner_id(models)
    assert row["actor"] != row["opened_by"]
    more = opened(models, made["reuse_token"], force_new=True)
    assert ask(models, more["reuse_token"]).status_code == 200


def test_a_workspace_that_a_member_or_their_key_opened_uses_models_on_their_behalf(models: Models) -> None:
    body = {"email": "ann@acme.example", "role": "admin"}
    invite = models.world.ok(models.world.as_owner("POST", "/v1/invites", json=body))["invite_token"]
    accept = {"invite_token": invite, "name": "Ann"}
    member = models.world.ok(models.world.http.post("/v1/invites/accept", json=accept))
    for bearer in (member["access_token"], key(models, member["access_token"])):
        made = opened(models, bearer)
        assert ask(models, made["reuse_token"]).status_code == 200
        assert newest(models)["opened_by"] == member["member_id"]


def test_a_workspace_that_nobody_signed_in_for_uses_none_whoever_gives_it_a_new_token(models: Models) -> None:
    site = key(models, models.world.owner_token)  # of nobody in particular: it serves visitors of a site
    for bearer in (None, site):
        made = opened(models, bearer)
        refused = ask(models, made["reuse_token"])
        assert refused.status_code == 403
        assert "signed in" in refused.json()["error"]["message"]
        inits = models.world.ok(models.world.as_owner("GET", "/v1/sandboxes"))["items"]
        (id_,) = (one["id"] for one in inits if one["branch"] == made["branch"])
        body = {"action": "rotate"}
        token = models.world.ok(models.world.as_owner("POST", f"/v1/sandboxes/{id_}/token", json=body))
        assert ask(models, token["reuse_token"]).status_code == 403
        more = opened(models, token["reuse_token"], force_new=True)
        assert ask(models, more["reuse_token"]).status_code == 403
    assert models.rows() == []
