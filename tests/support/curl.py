#!/usr/bin/env python3
"""What the pages use of curl, for machines without it: -s -S -f -i -X -H -d --data-binary -o -w -u, one address."""

import argparse
import base64
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


class _Stay(urllib.request.HTTPRedirectHandler):
    """Without -L a redirect is an answer like any other."""

    def redirect_request(self, *_args: Any) -> None:
        return None


def main() -> int:
    """Do one request as curl does."""
    parser = argparse.ArgumentParser()
    for flag in ("-s", "-S", "-f", "-i"):
        parser.add_argument(flag, action="store_true")
    for option in ("-X", "-d", "-o", "-w", "-u", "--data-binary"):
        parser.add_argument(option)
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("url")
    asked = parser.parse_args()
    body = asked.d if asked.d is not None else asked.data_binary
    if body is not None and body.startswith("@"):
        body = Path(body[1:]).read_text() if body != "@-" else sys.stdin.read()
    data = None if body is None else body.encode()
    headers = dict(h.split(": ", 1) for h in asked.H)
    if asked.u:
        headers["Authorization"] = "Basic " + base64.b64encode(asked.u.encode()).decode()
    method = asked.X or ("GET" if data is None else "POST")
    request = urllib.request.Request(asked.url, data=data, headers=headers, method=method)
    try:
        reply = urllib.request.build_opener(_Stay()).open(request, timeout=120)
    except urllib.error.HTTPError as error:
        if asked.f:
            print(f"curl: (22) The requested URL returned error: {error.code}", file=sys.stderr)
            return 22
        reply = error
    content = reply.read()
    if asked.i:
        sys.stdout.write(f"HTTP/1.1 {reply.status}\n{reply.headers}")
        sys.stdout.flush()
    if asked.o:
        Path(asked.o).write_bytes(content)
    else:
        sys.stdout.buffer.write(content)
    if asked.w:
        sys.stdout.flush()
        print(asked.w.replace("%{http_code}", str(reply.status)).replace("\\n", "\n"), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
