"""The first steps in the console: coming in, finding one's way, going out."""

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Route, expect

from tests.support.browsers import Scheme, Visitor

MOVES = "() => document.getAnimations().some((one) => one.playState === 'running')"


def test_the_owner_comes_in_by_a_code_finds_the_way_by_keys_and_signs_out(visitor: Visitor) -> None:
    page = visitor.goto("/")
    expect(page.get_by_role("heading", name="BuilderOS", exact=True)).to_be_visible()
    visitor.enter()
    assert page.url == visitor.server.url + "/"  # the code is in no address any more
    expect(page.get_by_text("Nothing waits for you.")).to_be_visible()
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Search and commands").fill("approv")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Approvals", level=1)).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("Go to Approvals")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Colours").click()
    page.get_by_role("menuitemradio", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="You", exact=True).press("ArrowDown")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="BuilderOS", exact=True)).to_be_visible()
    page.goto(visitor.server.url + "/approvals")
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()


def test_a_code_is_good_for_one_browser_once(visitor: Visitor) -> None:
    made = visitor.server.owner().call("POST", "/v1/auth/code")
    assert re.fullmatch(r".*/open#bos_bc_[0-9A-Za-z]{43}", made["url"])
    page = visitor.page
    page.goto(made["url"])
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    page.goto("about:blank")
    page.goto(made["url"])
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_contain_text("Begin again")
    visitor.complaints = [said for said in visitor.complaints if "status of 401" not in said]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_frame_breaks_no_rule_of_accessibility_whatever_is_open(owner: Visitor, scheme: Scheme) -> None:
    page = owner.page
    page.emulate_media(color_scheme=scheme)
    expect(page.get_by_text("Nothing runs.")).to_be_visible()
    assert owner.violations() == [], "Home"
    for button in ("Colours", "You", "Notifications", "local: organisation and projects"):
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.get_by_role("menu")).to_be_visible()
        assert owner.violations() == [], button
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name=button, exact=True)).to_be_focused()
    for key, name in (("Control+k", "Search and commands"), ("?", "Keys")):
        page.keyboard.press(key)
        expect(page.get_by_role("dialog", name=name)).to_be_visible()
        assert owner.violations() == [], name
        page.keyboard.press("Escape")
    for path in ("/approvals", "/approvals?state=denied", "/no/such/page"):
        owner.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert owner.violations() == [], path


def test_nothing_moves_where_the_system_asks_for_stillness(owner: Visitor) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page = owner.goto("/experiments")
    page.get_by_role("button", name="New experiment").click()
    page.get_by_role("dialog").get_by_label("Name").fill("still")
    page.route("**/v1/experiments", hold)  # a button that waits turns its wheel
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("button", name="Make it")).to_have_attribute("aria-busy", "true")
    page.wait_for_function(f"() => !({MOVES})()")  # a hundredth of a millisecond is over by then
    page.emulate_media(reduced_motion="no-preference")
    page.wait_for_function(MOVES)  # else it would
    held[0].continue_()
    expect(page.get_by_role("heading", name="still", level=1)).to_be_visible()


def test_a_page_asks_for_what_it_shows_before_its_scripts_are_there_and_once(owner: Visitor) -> None:
    asked: list[str] = []
    owner.page.route("**/v1/stream?*", lambda route: route.abort())  # whose beginning makes all old
    owner.page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    page = owner.goto("/runs")
    expect(page.get_by_text("Nothing has run yet.")).to_be_visible()
    assert asked.count("/v1/auth/session") == asked.count("/v1/runs") == 1
    assert asked.index("/v1/runs") < asked.index("/v1/me"), asked
    owner.complaints = [said for said in owner.complaints if "net::ERR_" not in said]
