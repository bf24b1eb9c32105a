"""What this room lends to pipelines."""

from builderos.core.steps import Action, Actions
from builderos.execution.runs import service as runs

from . import choosing, rounds, steps


def builtin(actions: Actions) -> None:
    """Enrol the actions: one agent, rounds of one and a judge, a choice among proposals."""
    actions.enrol(steps.ACTION, Action(outside=steps.run_agent, queue=runs.QUEUE))
    actions.enrol(rounds.ACTION, Action(outside=rounds.run_rounds, queue=runs.QUEUE))
    actions.enrol(choosing.ACTION, Action(outside=choosing.run_choose, queue=runs.QUEUE, apart=True))
