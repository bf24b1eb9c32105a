"""The few pages that this server shows itself: signing in, and asking a member whether a program may act.

Plain forms without foreign parts. Whatever comes from somebody else is escaped where it is written down.
"""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Final

from fastapi.responses import Response

from builderos.trust.orgs import service as orgs

SAYS: Final = {
    "read": "read repositories, branches, tasks and promotions",
    "write": "open workspaces and write in them",
    "promote": "propose changes for the main branch",
    "approve": "approve or deny what waits for a decision",
    "admin": "manage members, keys, policy and alerts",
}
STYLE: Final = """:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0; } main { max-width: 32rem; margin: 8vh auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } fieldset { border: 1px solid #8888; border-radius: 6px; }
label, .row { display: block; margin: .6rem 0; } input:not([type=checkbox]) { display: block; width: 100%; box-sizing:
border-box; padding: .5rem; font: inherit; } button { font: inherit; padding: .5rem 1rem; margin: .2rem .4rem .2rem 0; }
.quiet { opacity: .75; font-size: .9rem; } code { overflow-wrap: anywhere; } [hidden] { display: none; }
"""


def page(
    title: str, body: str, *, forms: str = "'none'", script: bool = False, status: int = 200
) -> Response:
    """A page that no other page can frame, and that loads nothing but what this server sends.

    `forms` are the targets of its forms. A form's Origin would be `null` under the stricter referrer policy.
    """
    policy = (
        f"default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action {forms}"
    )
    if script:
        policy += "; script-src 'self'; connect-src 'self'"
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="/sign-in.css"></head><body><main>'
        f"<h1>{escape(title)}</h1>{body}</main></body></html>\n"
    )
    headers = {
        "content-security-policy": policy, "x-frame-options": "DENY",
        "referrer-policy": "no-referrer" if forms == "'none'" else "same-origin",
        "cross-origin-opener-policy": "same-origin",
    }  # fmt: skip
    return Response(text, status, headers, "text/html")


def notice(title: str, text: str, status: int = 200) -> Response:
    """A page that only says something."""
    return page(title, f'<p role="status">{escape(text)}</p>', status=status)


def consent(
    wish: orgs.grants.Wish, me: orgs.me.Me, scopes: Iterable[str], hidden: Mapping[str, str], action: str
) -> Response:
    """The question whether a program may act in the name of a member."""
    client = wish.client
    told = {
        "builtin": "This program comes with BuilderOS.",
        "organisation": f"An owner or admin of {me.org_slug} has registered this program.",
        "self": "This program chose its name itself; nobody has checked it.",
    }[client.origin]
    boxes = "".join(
        f'<label><input type="checkbox" name="grant" value="{s}" checked> {s}: {SAYS[s]}</label>'
        for s in scopes
    )
    goes = ""
    if wish.redirect_uri:
        there = escape(orgs.redirects.origin(wish.redirect_uri))
        goes = f"<p>You will be sent on to <code>{there}</code>.</p>"
    part = f"<p>Only for <code>{escape(wish.audience)}</code>.</p>" if wish.audience else ""
    who = escape(me.name or me.email or me.label)
    body = f"""<p><strong>{escape(client.name)}</strong> wants to act in your name in the organisation
<strong>{escape(me.org_slug)}</strong>.</p><p class="quiet">{escape(told)}</p>{_device_note(wish)}
<form method="post" action="{escape(action)}">{_hidden(hidden)}
<fieldset><legend>It may</legend>{boxes}</fieldset>{part}{goes}
<p class="quiet">You are {who} ({escape(me.role)}). You can end this at any time: builderos token sessions.</p>
<button name="decision" value="allow">Allow</button><button name="decision" value="deny">Deny</button></form>
<p class="quiet"><a href="/sign-in">Use another account or organisation</a></p>"""
    return page("Let a program in?", body, forms=_targets(wish.redirect_uri))


def ask_code(hidden: Mapping[str, str], typed: str, said: str = "") -> Response:
    """Where a member types the code that a device shows."""
    body = f"""<p role="status">{escape(said)}</p><form method="post" action="/device">{_hidden(hidden)}
<label>The code that your machine shows
<input name="user_code" value="{escape(typed)}" autocomplete="off" spellcheck="false" required maxlength="20"></label>
<button>Continue</button></form>"""
    return page("Connect a machine", body, forms="'self'")


def _device_note(wish: orgs.grants.Wish) -> str:
    if wish.redirect_uri:
        return ""
    return "<p><strong>Go on only if you have just started this on a machine of your own.</strong></p>"


def _hidden(values: Mapping[str, str]) -> str:
    return "".join(f'<input type="hidden" name="{escape(n)}" value="{escape(v)}">' for n, v in values.items())


def _targets(redirect_uri: str) -> str:
    """Where the answer of a form may lead: browsers hold also the redirect behind it against this list."""
    if not redirect_uri:
        return "'self'"
    there = orgs.redirects.origin(redirect_uri)
    return "'self' " + ("http:" if "[" in there else there)  # an IPv6 address cannot be named there
