"""A browser for tests, as $BROWSER: it opens an address, decides as its owner does, and follows the way back.

`python web_browser.py JAR DECISION ADDRESS`; JAR holds the cookie of a session. It prints nothing.
"""

import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from html import unescape
from pathlib import Path
from typing import Any


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any) -> None:
        return None


_OPEN = urllib.request.build_opener(_Stay()).open


def visit(address: str, cookie: str, form: list[tuple[str, str]] | None = None) -> tuple[str, str]:
    """Text of a page, and where it leads to."""
    at = urllib.parse.urlsplit(address)
    headers = {"cookie": f"__Host-bos={cookie}", "origin": f"{at.scheme}://{at.netloc}"}
    data = None if form is None else urllib.parse.urlencode(form).encode()
    try:
        with _OPEN(urllib.request.Request(address, data, headers), timeout=120) as reply:
            return reply.read().decode(), ""
    except urllib.error.HTTPError as error:
        return error.read().decode(), error.headers.get("location", "")


def decide(address: str, cookie: str, decision: str) -> tuple[str, str]:
    """Look at a question and answer it; returns what comes then."""
    page, _ = visit(address, cookie)
    fields = re.findall(r'<input type="(?:hidden|checkbox)" name="([^"]*)" value="([^"]*)"', page)
    path = re.search(r'action="([^"]+)"', page)
    assert path, page
    target = urllib.parse.urljoin(address, path[1])
    plain = [(unescape(name), unescape(value)) for name, value in fields]
    return visit(target, cookie, [*plain, ("decision", decision)])


def type_code(url: str, cookie: str, code: str, decision: str = "allow") -> str:
    """Type a device's code and decide; returns what the last page says."""
    page, _ = visit(f"{url}/device", cookie)
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)
    assert csrf, page
    question, _ = visit(f"{url}/device", cookie, [("csrf", csrf[1]), ("user_code", code)])
    fields = re.findall(r'<input type="(?:hidden|checkbox)" name="([^"]*)" value="([^"]*)"', question)
    return visit(f"{url}/device", cookie, [*fields, ("decision", decision)])[0]


def main(jar: str, decision: str, address: str) -> None:
    """Open one address."""
    if decision == "nobody":
        return
    _, back = decide(address, Path(jar).read_text(), decision)
    assert back.startswith("http://127.0.0.1:"), back
    if decision == "forge":
        back = re.sub("state=[^&]+", "state=x", back)
    visit(back, "")


if __name__ == "__main__":
    main(*sys.argv[1:])
