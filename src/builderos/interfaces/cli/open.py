"""Opening the console in the browser, signed in as whoever the command line is."""

import webbrowser
from urllib.parse import urlencode

import click

from .caller import Caller
from .commands import Verb
from .login import has_browser


@click.command("open", cls=Verb)
@click.argument("page", default="/")
@click.option("--print", "only_print", is_flag=True, help="Print the address; open no browser.")
@click.pass_obj
def open_(caller: Caller, page: str, only_print: bool) -> int:
    """Open the console in your browser, signed in as you.

    PAGE is an address of the console, e.g. /approvals. The address that opens holds a code for one use within two
    minutes, behind its #, which browsers send to nobody.
    """
    if not page.startswith("/") or page.startswith("//"):
        raise click.UsageError("PAGE begins with one /, e.g. /approvals")
    told = caller.client().call("POST", "/v1/auth/code")
    there, _, code = str(told["url"]).partition("#")
    address = f"{there}?{urlencode({'to': page})}#{code}" if page != "/" else str(told["url"])
    if caller.json or only_print or not has_browser():
        return caller.show({"url": address, "expires_in_s": told["expires_in_s"]}, address)
    webbrowser.open(address)
    return caller.show({}, f"Your browser opens {there.removesuffix('/open')}{page}")
