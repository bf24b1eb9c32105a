"""The first steps in the console: coming in, seeing what waits, going out."""

import pytest
from playwright.sync_api import expect

from tests.support.browsers import Visitor


def test_the_owner_comes_in_by_a_code_sees_what_waits_and_signs_out(visitor: Visitor) -> None:
    page = visitor.goto("/")
    expect(page.get_by_role("heading", name="BuilderOS")).to_be_visible()
    visitor.enter()
    assert page.url == visitor.server.url + "/"  # the code is in no address any more
    expect(page.get_by_text("Nothing waits for you.")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="BuilderOS", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()


ROUTES = ["/", "/approvals", "/nowhere"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_a_rule_of_accessibility(owner: Visitor, scheme: str) -> None:
    owner.page.emulate_media(color_scheme=scheme)
    for path in ROUTES:
        page = owner.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert owner.violations() == [], path
