"""Takes the pictures of docs/pictures anew: `make screenshots`. It starts and fills a server of its own."""

import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page

from tests.support import browsers, server
from tests.support.server import ROOT, Server
from tests.support.servers import until

PICTURES: Final = ROOT / "docs/pictures"
PAGES: Final = (
    ("home", "/", "light"), ("approvals", "/approvals", "light"), ("approvals-dark", "/approvals", "dark"),
    ("runs", "/runs", "light"), ("prompts", "/prompts", "light"), ("policies", "/policies", "light"),
    ("admin", "/admin", "light"),
)  # fmt: skip
ASKING: Final = """name: bake
steps:
  - {id: test, run: "seq 40 | sed 's/^/passed: recipe /'"}
  - {id: bake, needs: [test], run: "printf 'green = 3\\n' > shop/prices.py; echo baked", outputs: ["shop/*.py"]}
  - {id: look, needs: [bake], approval: {message: "Sell at these prices?"}}
"""
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


def running(served: Server) -> str:
    """A run that waits for a yes; its id."""
    opened = served.client().call("POST", "/sandbox/init", {"mode": "branch", "repo_name": "shop"})
    mine, here = served.client(opened["reuse_token"]), {"repo_name": "shop", "branch": opened["branch"]}
    files = [
        {"path": "ship/bake/pipeline.yaml", "content": ASKING},
        {"path": "shop/prices.py", "content": "green = 2\n"},
    ]
    mine.call("POST", "/commit_and_log_output", {**here, "files": files, "message": "Bake prices"})
    run_id = str(mine.call("POST", "/v1/runs", {"pipeline": "bake", **here})["run_id"])
    until(lambda: mine.call("GET", f"/v1/runs/{run_id}")["status"] == "waiting_approval")
    return run_id


def workspace(browser: Browser, served: Server) -> None:
    """What somebody without an account works in."""
    with browsers.visitor(browser, served) as newcomer:
        page = newcomer.goto("/?repo=shop")
        page.get_by_role("button", name="Start a workspace").click()
        page.get_by_role("button", name="README.md").click()
        browsers.write(page, "README.md", "# The tea shop\n\nWe sell **green** tea, and `black`.\n")
        take(page, "workspace")


SEEN: Final = {"run": ("Approve", "prices.py"), "log": ("of 40 lines",), "approvals": ("Approve",)}
"""What comes last of a page."""


def take(page: Page, name: str) -> None:
    """Keep the page as a picture, once nothing is on its way any more."""
    page.get_by_role("heading", level=1).wait_for()
    page.get_by_role("banner").get_by_text("Live", exact=True).wait_for()
    page.wait_for_load_state("load")
    for text in SEEN.get(name.removesuffix("-dark"), ()):
        page.get_by_text(text).first.wait_for()
    page.get_by_text("Loading").wait_for(state="hidden")
    page.screenshot(path=PICTURES / f"{name}.png")


def photograph(browser: Browser, served: Server) -> None:
    """All pictures of one server."""
    with browsers.visitor(browser, served) as landing:
        landing.goto("/").get_by_role("button").first.wait_for()
        landing.page.screenshot(path=PICTURES / "landing.png")
    with browsers.visitor(browser, served) as owner:
        owner.enter()
        run = running(served)
        more = (("run", f"/runs/{run}", "light"), ("log", f"/runs/{run}?tab=logs&step=test&find=recipe&line=7", "dark"),
                ("project", "/projects?repo=shop&part=commits", "light"))  # fmt: skip
        for name, path, scheme in (*PAGES, *more):
            owner.page.emulate_media(color_scheme=scheme)
            take(owner.goto(path), name)
    workspace(browser, served)


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
