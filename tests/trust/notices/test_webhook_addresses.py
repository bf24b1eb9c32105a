"""Where webhooks may not go, on a server whose owner has opened no network of its own."""

import pytest

from tests.support.lab import Lab
from tests.support.receivers import work

INSIDE = (
    "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest/meta-data/", "https://10.0.0.1/",
    "https://[::ffff:127.0.0.1]/", "https://[64:ff9b::7f00:1]/", "https://[fd00::1]/", "http://hooks.example.com/",
    "https://user:pw@hooks.example.com/", "https://hooks.example.com:22/", "https://2130706433/", "gopher://x.example/",
    "https://hooks.example.com/\\\\r\\\\nHost: x", "https://hooks.example.com/%zz#x", "file:///etc/passwd",
)  # fmt: skip


@pytest.mark.parametrize("url", INSIDE)
def test_no_webhook_leads_into_our_own_network(lab: Lab, url: str) -> None:
    """On a server whose owner has allowed no network of its own."""
    lab.problem(lab.as_owner("POST", "/v1/webhooks", json={"url": url}), "validation_failed")


def test_a_name_that_leads_inside_is_refused_at_every_delivery_and_the_log_says_so(
    lab: Lab,
) -> None:
    """What a name resolves to is looked at when it is dialled: what it was before does not count (rebinding)."""
    made = lab.ok(lab.as_owner("POST", "/v1/webhooks", json={"url": "https://localhost:8443/"}), 201)
    id_ = lab.ok(lab.as_owner("POST", f"/v1/webhooks/{made['id']}/ping", json={}))["id"]
    work(lab)
    tried = lab.ok(lab.as_owner("GET", f"/v1/deliveries/{id_}"))["tries"][0]
    assert tried["status"] is None
    assert "not a public address" in tried["error"]
