"""Operations on prompts."""

from builderos.core.operations import Download, Operations, Reply
from builderos.core.unit import Unit

from . import labels, looking, packs, publishing, schema

routes = Operations("prompts")


@routes.get("/v1/prompts", "listPrompts")
def list_prompts(unit: Unit, body: schema.ListIn) -> schema.PromptList:
    """List the prompts of your organisation and those that come with BuilderOS."""
    return looking.listed(unit, body)


@routes.post("/v1/prompts", "publishPrompt", status=201)
def publish_prompt(unit: Unit, body: schema.PublishIn) -> Reply[schema.Published]:
    """Publish a version of a prompt; it never changes afterwards."""
    return publishing.publish(unit, body)


@routes.post("/v1/prompts/lint", "lintPrompt", effect="read")
def lint_prompt(unit: Unit, body: schema.LintIn) -> schema.LintOut:
    """Look a prompt file over: every mistake with its line, and the version its changes ask for; nothing is kept."""
    return publishing.lint(unit, body)


@routes.post("/v1/prompts/render", "renderPrompt", effect="read")
def render_prompt(unit: Unit, body: schema.RenderIn) -> schema.Rendered:
    """Fill a prompt in and show the text as it would be sent."""
    return looking.rendered(unit, body)


@routes.post("/v1/prompts/export", "exportPrompts", effect="read", media_types=("application/zip",))
def export_prompts(unit: Unit, body: schema.ExportIn) -> Download:
    """Take prompts out as one file, promptpack.zip, with the hash of each version."""
    return packs.export(unit, body)


@routes.post("/v1/prompts/import", "importPrompts", status=201)
def import_prompts(unit: Unit, body: schema.ImportIn) -> Reply[schema.Imported]:
    """Publish all versions of a promptpack.zip, or none of them."""
    return packs.import_(unit, body)


@routes.get("/v1/prompts/{name}", "showPrompt")
def show_prompt(unit: Unit, body: schema.ShowIn) -> schema.Prompt:
    """Show a version of a prompt with its file, inputs, labels and hash."""
    return looking.show(unit, body)


@routes.get("/v1/prompts/{name}/versions", "listPromptVersions")
def list_prompt_versions(unit: Unit, body: schema.VersionsIn) -> schema.Versions:
    """List the versions of a prompt, newest first, and what holds one back from being latest."""
    return looking.versions(unit, body)


@routes.get("/v1/prompts/{name}/diff", "diffPrompt")
def diff_prompt(unit: Unit, body: schema.DiffIn) -> schema.Diff:
    """Compare two versions of a prompt: text, fields, and how they did in the evals."""
    return looking.diff(unit, body)


@routes.post("/v1/prompts/{name}/labels", "labelPrompt", may_wait=True)
def label_prompt(unit: Unit, body: schema.LabelIn) -> Reply[schema.Labelled]:
    """Let a label name a version; protected labels need a permission or an approval."""
    return labels.label(unit, body)


@routes.delete("/v1/prompts/{name}/labels/{label}", "unlabelPrompt")
def unlabel_prompt(unit: Unit, body: schema.UnlabelIn) -> schema.Labelled:
    """Take a label away."""
    return labels.unlabel(unit, body)
