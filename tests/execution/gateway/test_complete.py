"""One completion through policy, budget, secrets and the ledger of usage."""

from tests.support.gateways import Models
from tests.support.upstreams import Reply


def test_a_completion_names_its_model_its_provider_and_its_row(models: Models) -> None:
    out = models.complete("hello dear model")
    assert (out.text, out.provider, out.model, out.label) == ("Hello there!", "up", "small", "live")
    (row,) = models.rows()
    assert (row.id, row.state, row.provider, row.model, row.asked) == (
        out.usage_id,
        "done",
        "up",
        "small",
        "default",
    )
    assert (row.input_tokens, row.output_tokens, row.cost) == (3, 3, 3 * 1000 + 3 * 2000)
    assert out.cost == row.cost / 10**9


def test_a_stream_is_told_as_events(models: Models) -> None:
    models.upstream.replies.append(Reply(words=["a", "b"], pieces=7))
    events = models.stream()
    assert [e.type for e in events] == ["token", "token", "usage", "done"]
    assert events[2].data["completion_tokens"] == 2
    assert not events[2].data["estimated"]
    (row,) = models.rows()
    assert (row.state, row.output_tokens, row.estimated) == ("done", 2, False)
