"""The page of signing in: what it shows and its one script. It needs a script, because it speaks JSON to this server.

A stranger reads nothing here of which organisations there are: an organisation is typed, never chosen from a list, and
every answer is the same for one that does not exist.
"""

from collections.abc import Sequence
from html import escape
from typing import Final

from fastapi.responses import Response

from builderos.trust.orgs import service as orgs

from . import pages

# The secret of a mailed link stands behind the #, which browsers send to nobody; a mail scanner that opens the page
# uses nothing up. An address that follows a sign-in was checked by the server and begins with /.
SCRIPT: Final = """"use strict";
const $ = (id) => document.getElementById(id);
const say = (text) => { $("said").textContent = text; };
const secret = location.hash.slice(1);
if (secret) history.replaceState(null, "", location.pathname + location.search);
const send = async (button, path, body) => {
  button.disabled = true;
  try {
    const reply = await fetch(path, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    });
    const told = await reply.json();
    say(reply.ok ? told.message : `${told.detail}. ${told.hint}`);
    const next = told.next ?? "/";
    if (reply.ok && told.csrf_token) location.assign(next.startsWith("/") && !next.startsWith("//") ? next : "/");
  } catch {
    say("The server did not answer. Try again.");
  }
  button.disabled = false;
};
const organisation = () => $("org").value.trim() || "local";
if (secret) {
  $("ways").hidden = true;
  $("linked").hidden = false;
  say("You followed a link from your mail.");
  $("go").addEventListener("click", () => send($("go"), "/v1/auth/link/finish", { token: secret }));
}
$("mail")?.addEventListener("click", () =>
  send($("mail"), "/v1/auth/link", { email: $("email").value.trim(), org_slug: organisation() }));
$("oidc")?.addEventListener("click", () =>
  location.assign(`/v1/auth/oidc/start?org_slug=${encodeURIComponent(organisation())}`));
$("join").addEventListener("click", () =>
  send($("join"), "/v1/auth/invite", { invite_token: $("invite").value.trim(), name: $("name").value.trim() }));
"""


def sign_in(providers: Sequence[orgs.providers.Listed], *, mail: bool, provider: bool) -> Response:
    """The page with the ways that this server has: `providers` to choose, mailed links, its own provider, an invite."""
    links = "".join(
        f'<p><a href="/v1/auth/oidc/start?provider={escape(p.id)}">Continue with {escape(p.label)}</a></p>'
        for p in providers
    )
    typed = '<label>Organisation<input id="org" autocomplete="organization" spellcheck="false"></label>'
    mailed = """<label>E-mail address<input id="email" type="email" autocomplete="email"></label>
<button id="mail" type="button">Mail me a link</button>"""
    single = '<button id="oidc" type="button">Continue with single sign-on</button>'
    ways = f"{typed}{mailed if mail else ''}{single if provider else ''}" if mail or provider else ""
    body = f"""<noscript><p>This page needs its script.</p></noscript><p id="said" role="status"></p>
<div id="linked" hidden><button id="go" type="button">Sign in</button></div>
<div id="ways">{links}{ways}
<fieldset><legend>I have an invite</legend>
<label>Invite<input id="invite" autocomplete="off" spellcheck="false"></label>
<label>Your name<input id="name" autocomplete="name"></label>
<button id="join" type="button">Join</button></fieldset></div><script src="/sign-in.js"></script>"""
    return pages.page("Sign in to BuilderOS", body, script=True)
