"""Models by name, and texts that are none."""

import openai
import pytest

from tests.support.gateways import Models


def test_a_model_of_a_provider_that_passes_on_any_name_is_found(models: Models, address: str) -> None:
    client = openai.OpenAI(base_url=f"{address}/openai/v1", api_key=models.world.owner_token, max_retries=0)
    assert client.models.retrieve("bare/whatever-it-serves").owned_by == "bare"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nowhere/whatever")


def test_half_of_a_sign_is_called_that(models: Models) -> None:
    body = '{"messages": [{"role": "user", "content": "\\ud800"}]}'
    headers = {**models.world.owner, "content-type": "application/json"}
    reply = models.world.http.request("POST", "/v1/ai/stream", content=body.encode(), headers=headers)
    problem = models.world.problem(reply, "validation_failed")
    assert "surrogate" in problem["detail"]
