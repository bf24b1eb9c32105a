"""A browser and a server for the module, a visitor for the test."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support import browsers, server
from tests.support.browsers import Visitor
from tests.support.server import Server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of one module. As long as it lives, its event loop counts as running in this thread,
    and tests of other rooms could start none of their own.
    """
    with browsers.launched() as started:
        yield started


@pytest.fixture(scope="module")
def served(run_folder: Path) -> Iterator[Server]:
    """A server for the tests of one module, with its engine."""
    started = server.start(run_folder / f"c{uuid.uuid4().hex[:8]}" / "home")
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture
def visitor(browser: Browser, served: Server) -> Iterator[Visitor]:
    """Somebody who has not signed in."""
    with browsers.visitor(browser, served) as somebody:
        yield somebody


@pytest.fixture
def owner(visitor: Visitor) -> Visitor:
    """The owner of the server, at Home."""
    return visitor.enter()
