"""Operations on sessions."""

from builderos.core.operations import Live, Operations, Reply
from builderos.core.unit import Unit

from . import following, reading, starting, tokens
from .schema import (
    Session,
    SessionActIn,
    SessionEvents,
    SessionEventsIn,
    SessionIn,
    SessionList,
    SessionListIn,
    SessionLogs,
    SessionLogsIn,
    SessionStartIn,
    SessionToken,
)

routes = Operations("sessions")
_EVENTS = "text/event-stream"


@routes.post("/v1/sessions", "startSession", status=202)
def start_session(unit: Unit, body: SessionStartIn) -> Reply[Session]:
    """Start a notebook or a shell in a sandbox, on the files of a branch."""
    return starting.start(unit, body)


@routes.get("/v1/sessions", "listWorkSessions")
def list_sessions(unit: Unit, body: SessionListIn) -> SessionList:
    """List notebooks and shells, newest first."""
    return reading.listed(unit, body)


@routes.get("/v1/sessions/{id}", "showSession")
def show_session(unit: Unit, body: SessionIn) -> Session:
    """Show one notebook or shell: how it stands, where it is, what was kept of it."""
    return reading.show(unit, body)


@routes.post("/v1/sessions/{id}/token", "openSession", status=201, secret_reply=True)
def open_session(unit: Unit, body: SessionActIn) -> Reply[SessionToken]:
    """Get the way into a session: an address for a browser and a token for a program, for a quarter of an hour."""
    return tokens.issue(unit, body)


@routes.post("/v1/sessions/{id}/checkpoint", "checkpointSession", status=202)
def checkpoint_session(unit: Unit, body: SessionActIn) -> Reply[Session]:
    """Commit the files of a session that runs to its branch now."""
    return starting.checkpoint(unit, body)


@routes.post("/v1/sessions/{id}/stop", "stopSession")
def stop_session(unit: Unit, body: SessionActIn) -> Session:
    """End a session; its files are kept, and committed to its branch."""
    return starting.stop(unit, body)


@routes.post("/v1/sessions/{id}/restart", "restartSession", status=202)
def restart_session(unit: Unit, body: SessionActIn) -> Reply[Session]:
    """Start a session that is over again, with its files."""
    return starting.restart(unit, body)


@routes.get("/v1/sessions/{id}/logs", "sessionLogs", media_types=(_EVENTS,))
def session_logs(unit: Unit, body: SessionLogsIn) -> SessionLogs | Live:
    """Read what the server of a session printed, or follow it.

    Followed, the header Last-Event-ID goes on where a client was; the reply ends with the session.
    """
    return following.logs(unit, body)


@routes.get("/v1/sessions/{id}/events", "followSession", media_types=(_EVENTS,))
def follow_session(unit: Unit, body: SessionEventsIn) -> SessionEvents | Live:
    """Follow what happens in a session, as Server-Sent Events; the header Last-Event-ID goes on where a client was.

    Between its events, `session.resources` tells what it uses: processor, memory, disk, processes.
    """
    return following.events(unit, body)
