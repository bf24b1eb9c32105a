"""Opening the console from the command line."""

import re
import sys
import urllib.parse
from pathlib import Path

import httpx

from .conftest import Line


def test_the_browser_is_sent_to_a_page_with_a_code_that_lets_it_in_once(person: Line, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    note = f"{sys.executable} -c 'import sys; open(sys.argv[1], \"w\").write(sys.argv[2])' {seen} %s"
    said = person.ok("open", "/approvals", BROWSER=note)
    assert "bos_bc_" not in said  # what stays in the terminal lets nobody in
    address = urllib.parse.urlsplit(seen.read_text())
    assert (address.path, address.query) == ("/open", "to=%2Fapprovals")
    finish = f"{address.scheme}://{address.netloc}/v1/auth/code/finish"
    assert httpx.post(finish, json={"code": address.fragment}).json()["role"] == "owner"
    assert httpx.post(finish, json={"code": address.fragment}).json()["code"] == "token_invalid"


def test_without_a_browser_the_address_is_printed(person: Line) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/open#bos_bc_\w{43}", person.json("open")["url"])
    assert re.search(r"/open#bos_bc_\w{43}", person.ok("open", "--print"))


def test_only_a_page_of_the_console_opens(person: Line) -> None:
    for page in ("//elsewhere.invalid", "https://elsewhere.invalid", "approvals"):
        answer = person("open", page, "--print")
        assert (answer.code, answer.out) == (2, "")
