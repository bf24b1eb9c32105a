"""What the process of a model refuses is told as every other refusal."""

import json

import pytest

from builderos.client.errors import ClientError
from builderos.client.http import Client
from tests.support.receivers import receiver


@pytest.mark.parametrize(("status", "code"), [(422, "validation_failed"), (500, "upstream_failed")])
def test_a_refusal_in_the_words_of_models_names_the_place(status: int, code: str) -> None:
    with receiver() as model:
        model.status = status
        model.reply = json.dumps(
            {"error_code": "BAD_REQUEST", "message": "x has to be a number", "where": ["x", "row 0"]}
        ).encode()
        model.headers = {"content-type": "application/json", "content-length": str(len(model.reply))}
        with pytest.raises(ClientError) as refused:
            Client(model.url.removesuffix("/hook"), "token").call("POST", "/v1/endpoints/iris/invoke", {})
    assert refused.value.code == code
    assert refused.value.problem["detail"] == "x has to be a number"
    assert refused.value.problem["hint"] == "Look at x, row 0."
