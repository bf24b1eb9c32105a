"""Models: which there are, what they were asked and cost, what they may cost."""

import click

from .caller import Caller
from .commands import Noun, Verb
from .options import fields, paged

MODELS = (("name", "MODEL"), ("alias_of", "STANDS FOR"), ("kind", "KIND"), ("input", "INPUT"), ("output", "OUTPUT"),
          ("max_output", "MOST OUTPUT"))  # fmt: skip
SUMS = (("requests", "REQUESTS"), ("failed", "NOT DONE"), ("estimated", "ESTIMATED"), ("input_tokens", "INPUT"),
        ("output_tokens", "OUTPUT"), ("cost", "COST"))  # fmt: skip
REQUESTS = (("at", "AT"), ("provider", "PROVIDER"), ("model", "MODEL"), ("agent", "AGENT"), ("state", "STATE"),
            ("input_tokens", "INPUT"), ("output_tokens", "OUTPUT"), ("cost", "COST"), ("label", "LABEL"))  # fmt: skip
BUDGETS = (
    ("subject", "SUBJECT"),
    ("period", "PERIOD"),
    ("meter", "METER"),
    ("amount", "BUDGET"),
    ("set_at", "SET"),
)
BY = click.Choice(["day", "model", "provider", "key", "actor", "agent", "prompt", "run"])
PERIOD = click.Choice(["day", "month", "total"])
METER = click.Choice(["tokens", "cost"])


@click.group("ai", cls=Noun)
def ai() -> None:
    """Look at models, at what they cost, and at what they may cost."""


@ai.command("models")
@click.pass_obj
def models(caller: Caller) -> int:
    """List the models that you may use, with prices per million tokens."""
    reply = caller.client().call("GET", "/v1/ai/models")
    return caller.listing(reply, MODELS, "The owner of this server has set up no model yet")


@ai.command("usage", cls=Verb)
@click.option("--by", type=BY, default="day", show_default=True, help="One row per.")
@click.option("--from", "first", metavar="DAY", help="First day, e.g. 2026-11-01; 30 days ago by default.")
@click.option("--to", "last", metavar="DAY", help="Last day; today by default.")
@click.option("--run", "run_id", metavar="RUN", help="Only requests of this run.")
@click.pass_obj
def usage(caller: Caller, by: str, first: str | None, last: str | None, run_id: str | None) -> int:
    """Show tokens and cost, the dearest first."""
    query = fields(by=by, to=last, run_id=run_id) | ({"from": first} if first else {})
    reply = caller.client().call("GET", "/v1/ai/usage/sums", query)
    return caller.listing(reply, (("name", by.upper()), *SUMS), "No model was asked in this time")


@ai.command("requests", cls=Verb)
@click.option("--run", "run_id", metavar="RUN", help="Only requests of this run.")
@paged
@click.pass_obj
def requests(caller: Caller, run_id: str | None, limit: int, cursor: str | None) -> int:
    """List single requests to models, newest first."""
    reply = caller.client().call("GET", "/v1/ai/usage", fields(run_id=run_id, limit=limit, cursor=cursor))
    return caller.listing(reply, REQUESTS, "No model was asked")


@ai.command("budgets")
@click.pass_obj
def budgets(caller: Caller) -> int:
    """List budgets for models."""
    return caller.listing(
        caller.client().call("GET", "/v1/ai/budgets"), BUDGETS, "There are no budgets for models"
    )


@ai.command("limit", cls=Verb)
@click.argument("subject")
@click.argument("period", type=PERIOD)
@click.argument("meter", type=METER)
@click.argument("amount", type=float, required=False)
@click.pass_obj
def limit(caller: Caller, subject: str, period: str, meter: str, amount: float | None) -> int:
    """Set how much models may cost SUBJECT (org, each-key, each-run, key:…, agent:…, run:…); without an amount: no more
    such budget.
    """
    body = {"subject": subject, "period": period, "meter": meter, "amount": amount}
    reply = caller.client().call("POST", "/v1/ai/budgets", body, once=True)
    return caller.listing(reply, BUDGETS, "There are no budgets for models")
