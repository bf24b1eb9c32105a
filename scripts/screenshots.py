"""Takes the pictures of docs/pictures anew: `make screenshots`. It starts and fills a server of its own."""

import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page

from tests.support import browsers, server
from tests.support.server import ROOT, Server

PICTURES: Final = ROOT / "docs/pictures"
PAGES: Final = (
    ("home", "/", "light"), ("approvals", "/approvals", "light"), ("approvals-dark", "/approvals", "dark"),
    ("runs", "/runs", "light"), ("prompts", "/prompts", "light"), ("policies", "/policies", "light"),
    ("admin", "/admin", "light"),
)  # fmt: skip
STORY: Final = (
    ("Sell green tea", "shop/tea.py", 'TEAS = ["green"]\n'),
    ("Tell of tea", "shop/story.md", "# Tea\n\nLeaves.\n"),
)


def seed(served: Server) -> None:
    """A shop, and two changes that wait for a yes."""
    served.owner().call("POST", "/v1/repos", {"name": "shop"})
    for title, path, content in STORY:
        opened = served.client().call("POST", "/sandbox/init", {"mode": "branch", "repo_name": "shop"})
        mine, here = served.client(opened["reuse_token"]), {"repo_name": "shop", "branch": opened["branch"]}
        files = [{"path": path, "content": content}]
        mine.call("POST", "/commit_and_log_output", {**here, "files": files, "message": title})
        mine.call("POST", "/git/promote", {**here, "title": title})


def take(page: Page, name: str) -> None:
    """Keep the page as a picture, once nothing is on its way any more."""
    page.get_by_role("heading", level=1).wait_for()
    page.get_by_role("banner").get_by_text("Live", exact=True).wait_for()
    page.wait_for_load_state("load")
    page.get_by_text("Loading").wait_for(state="hidden")
    page.screenshot(path=PICTURES / f"{name}.png")


def photograph(browser: Browser, served: Server) -> None:
    """All pictures of one server."""
    with browsers.visitor(browser, served) as landing:
        landing.goto("/").get_by_role("button").first.wait_for()
        landing.page.screenshot(path=PICTURES / "landing.png")
    with browsers.visitor(browser, served) as owner:
        owner.enter()
        for name, path, scheme in PAGES:
            owner.page.emulate_media(color_scheme=scheme)
            take(owner.goto(path), name)


def main() -> None:
    """Start, fill, photograph, stop."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bos-") as folder, browsers.launched() as browser:
        Path(folder).chmod(0o755)  # the database may run as another user
        served = server.start(Path(folder) / "home", forked=False)
        try:
            seed(served)
            photograph(browser, served)
        finally:
            served.stop()


if __name__ == "__main__":
    main()
