"""Doors of the gateway: streaming, what was used, budgets, and which models there are."""

from builderos.core.operations import Live, Operations
from builderos.core.unit import Unit

from . import budgeting, views
from .schema import StreamIn

routes = Operations("models")
_EVENTS = "text/event-stream"


@routes.post("/v1/ai/stream", "streamCompletion", media_types=(_EVENTS,))
def stream_completion(unit: Unit, body: StreamIn) -> Live:
    """Ask a model, and get its answer while it comes: Server-Sent Events token, tool_call, usage, done, error.

    Policy and budgets apply, known secrets are taken out of what is sent, and the usage is written down. Closing the
    connection stops the model. Programs that speak OpenAI's interface use /openai/v1 instead.
    """
    return views.stream_completion(unit, body)


@routes.get("/v1/ai/models", "listModels")
def list_models(unit: Unit, body: views.ModelListIn) -> views.ModelList:
    """List the models that can be asked for, with their prices."""
    return views.models(unit, body)


@routes.get("/v1/ai/usage", "listModelUsage")
def list_model_usage(unit: Unit, body: views.AiUsageIn) -> views.AiUsageList:
    """List requests to models: who asked which model, tokens, cost, how they ended; newest first."""
    return views.usage(unit, body)


@routes.get("/v1/ai/usage/sums", "sumModelUsage")
def sum_model_usage(unit: Unit, body: views.AiSumsIn) -> views.AiSums:
    """Add up tokens and cost by day, model, provider, key, agent, prompt or run."""
    return views.sums(unit, body)


@routes.get("/v1/ai/budgets", "listModelBudgets")
def list_model_budgets(unit: Unit, body: budgeting.AiBudgetListIn) -> budgeting.AiBudgetList:
    """List budgets for tokens and cost of models, and how far each is used."""
    return budgeting.listed(unit, body)


@routes.post("/v1/ai/budgets", "setModelBudget")
def set_model_budget(unit: Unit, body: budgeting.AiBudgetIn) -> budgeting.AiBudgetList:
    """Set how many tokens, or how much money, models may cost in a day, a month or in all; or take a budget away."""
    return budgeting.put(unit, body)
