"""The machine's own Chromium, driven by Playwright: one per test process, started by the first test that wants it."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from .server import ROOT, Server

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
AXE: Final = ROOT / "web/node_modules/axe-core/axe.min.js"
PATIENCE_MS: Final = 20_000
"""How long a page may take to show something; a machine that is busy is slow, and nothing waits this long in vain."""
Scheme = Literal["light", "dark"]
_PAINTED: Final = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Colours that are being exchanged are of both schemes."""
_TURN: Final = "(path) => { window.left = document.title; history.pushState(null, '', path) }"
_READ: Final = "() => document.title !== window.left && !document.querySelector('[data-waiting]')"
_FOCUSED: Final = """() => {
  const here = document.activeElement;
  return (here.ariaLabel || here.labels?.[0]?.textContent || here.textContent).trim();
}"""
_THEMES: Final = """async () => {
  const root = document.documentElement, before = root.dataset.theme;
  const main = document.querySelector('main');
  const said = (found, how) => found.violations.map((one) => `${how} ${one.id}: `
    + one.nodes.slice(0, 3).map((node) => `${node.target[0]} (${node.any[0]?.message ?? one.help})`).join(', '));
  const painted = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  root.dataset.theme = 'light';
  await painted();
  const light = said(await axe.run(main, {resultTypes: ['violations']}), 'light');
  root.dataset.theme = 'dark';
  await painted();
  const only = {runOnly: {type: 'rule', values: ['color-contrast']}, resultTypes: ['violations']};
  const dark = said(await axe.run(main, only), 'dark');
  if (before === undefined) delete root.dataset.theme; else root.dataset.theme = before;
  return [...light, ...dark];
}"""


def chromium() -> str:
    """The browser's program; fails with what to install where there is none."""
    named = os.environ.get("BUILDEROS_BROWSER")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None or not Path(found).exists():
        pytest.fail(
            "Chromium is missing: the console is tried in a real browser.\n"
            "  Debian, Ubuntu: sudo apt-get install chromium (make setup does it as root)\n"
            "  or name one: BUILDEROS_BROWSER=/path/to/chromium",
            pytrace=False,
        )
    return found


@contextmanager
def launched() -> Iterator[Browser]:
    """A Chromium without windows."""
    program = chromium()
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = _launch(playwright, program)
        yield browser
        browser.close()


def _launch(playwright: Playwright, program: str) -> Browser:
    quiet = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-gpu"]
    return playwright.chromium.launch(executable_path=program, args=quiet, timeout=90_000)


@dataclass
class Visitor:
    """One person at one browser profile. What the page complained about, and where else it wanted to go, is kept."""

    server: Server
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list[str])
    strayed: list[str] = field(default_factory=list[str])

    def goto(self, path: str) -> Page:
        """Open an address of the console."""
        self.page.goto(self.server.url + path)
        return self.page

    def enter(self, token: str | None = None) -> "Visitor":
        """Come in as `builderos open` lets somebody in: the owner, or the holder of `token`."""
        made = self.server.client(token or self.server.owner_token).call("POST", "/v1/auth/code")
        self.page.goto(made["url"])
        self.page.get_by_role("button", name="Continue").click()
        self.page.get_by_role("heading", name="Home").wait_for()
        return self

    def violations(self) -> list[str]:
        """What axe finds on the page as it stands: rule, and the first places."""
        self.page.evaluate(_PAINTED)
        self._with_axe()
        found: dict[str, Any] = self.page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{one['id']}: {', '.join(str(node['target'][0]) for node in one['nodes'][:3])} "
            f"({(one['nodes'][0].get('any') or [{}])[0].get('message', one['help'])})"
            for one in found["violations"]
        ]

    def _with_axe(self) -> None:
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(
                AXE.read_text("utf-8")
            )  # as the debugger does: the page's policy forbids a script tag

    def turn(self, path: str) -> Page:
        """Go to an address inside the page that is open, as a link does: nothing is loaded anew but what it shows.

        Waits until all of it is read. The page that is left and the one that comes have different titles.
        """
        self.page.evaluate(_TURN, path)
        self.page.wait_for_function(_READ)
        return self.page

    def tab_to(self, name: str) -> None:
        """Press Tab until what has the focus is called so, as somebody without a mouse does."""
        for _ in range(200):
            self.page.keyboard.press("Tab")
            if self.page.evaluate(_FOCUSED) == name:
                return
        pytest.fail(f"no Tab leads to {name}")

    def both_themes(self) -> list[str]:
        """What axe finds in the page inside its frame: all in the light, and what is too faint in the dark, for themes
        differ in their colours alone. The frame is for `violations`.
        """
        self._with_axe()
        found: list[str] = self.page.evaluate(_THEMES)
        return found

    def watch(self) -> None:
        """Keep what the page says to the console, and each request to another origin."""
        host = urlsplit(self.server.url).netloc
        self.page.on(
            "console", lambda said: said.type in ("error", "warning") and self.complaints.append(said.text)
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "request",
            lambda asked: (
                urlsplit(asked.url).netloc not in (host, "")
                and not asked.url.startswith(("data:", "blob:"))
                and self.strayed.append(asked.url)
            ),
        )


@contextmanager
def visitor(browser: Browser, server: Server, scheme: Scheme = "light", **options: Any) -> Iterator[Visitor]:
    """A fresh profile with one page. At the end nothing may have been said to the console, and nothing left the origin.

    `complaints` that a test expects it takes out itself.
    """
    options = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"} | options
    context = browser.new_context(color_scheme=scheme, **options)
    context.set_default_timeout(PATIENCE_MS)
    somebody = Visitor(server, context, context.new_page())
    somebody.watch()
    try:
        yield somebody
        assert somebody.complaints == [], json.dumps(somebody.complaints, indent=1)
        assert somebody.strayed == []
    finally:
        context.close()


def write(page: Page, path: str, text: str) -> None:
    """Put a text in place of what is in the editor, by the keyboard, as a person does."""
    page.get_by_role("textbox", name=f"Text of {path}").focus()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)
