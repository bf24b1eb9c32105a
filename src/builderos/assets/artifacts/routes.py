"""The artifacts API."""

from builderos.core.operations import Download, Operations
from builderos.core.unit import Unit

from . import moving, reading, rules, uploading
from . import schema as words

routes = Operations("artifacts")
ANY = ("application/octet-stream",)


@routes.get("/v1/artifacts", "listArtifacts")
def list_artifacts(unit: Unit, body: words.ListIn) -> words.ArtifactPage:
    """List artifacts, newest first; of one run with run_id."""
    return reading.listed(unit, body)


@routes.post("/v1/artifacts", "startUpload", status=201)
def start_upload(unit: Unit, body: words.UploadIn) -> words.Upload:
    """Begin to upload an artifact: say its size and hash, then send its bytes in parts.

    Parts go to `PUT /v1/artifacts/uploads/{id}?offset=…`. The artifact is there when the last one was acknowledged.
    """
    return uploading.start(unit, body)


@routes.get("/v1/artifacts/uploads/{id}", "getUpload")
def get_upload(unit: Unit, body: words.WhichIn) -> words.Upload:
    """Show how far an upload got: whoever was cut off goes on at `offset`."""
    return uploading.show(unit, body)


@routes.delete("/v1/artifacts/uploads/{id}", "dropUpload")
def drop_upload(unit: Unit, body: words.DeleteIn) -> words.UploadGone:
    """Forget an upload that is not complete."""
    return uploading.drop(unit, body)


@routes.get("/v1/artifacts/rules", "getArtifactRules")
def get_rules(unit: Unit, body: words.RulesIn) -> words.Rules:
    """Show for how long artifacts are kept, what is taken out of them, and how much space they use."""
    return rules.show(unit, body)


@routes.post("/v1/artifacts/rules", "setArtifactRules")
def set_rules(unit: Unit, body: words.SetRulesIn) -> words.Rules:
    """Set for how long artifacts are kept, what is taken out of them, or how much space they may use."""
    return rules.change(unit, body)


@routes.post("/v1/artifacts/move", "moveArtifacts")
def move_artifacts(unit: Unit, body: words.MoveIn) -> words.Moved:
    """Move the content of all artifacts of this server to another store; repeat it until `left` is 0."""
    return moving.move(unit, body)


@routes.get("/v1/artifacts/{id}", "getArtifact")
def get_artifact(unit: Unit, body: words.WhichIn) -> words.Artifact:
    """Show one artifact."""
    return reading.get(unit, body)


@routes.delete("/v1/artifacts/{id}", "deleteArtifact")
def delete_artifact(unit: Unit, body: words.DeleteIn) -> words.Artifact:
    """End an artifact: its record stays, its content goes."""
    return reading.delete(unit, body)


@routes.get("/v1/artifacts/{id}/content", "readArtifact", media_types=ANY)
def read_artifact(unit: Unit, body: words.WhichIn) -> Download:
    """Download an artifact, or with a Range header a part of it; every block is verified before it is sent."""
    return reading.content(unit, body)
