"""Workspaces and projects between an organisation and its repositories, and who has which role in them."""

from typing import Final
from urllib.parse import quote

import click

from .caller import Caller
from .commands import Noun
from .options import fields

PROJECTS: Final = (
    ("id", "PROJECT"), ("name", "NAME"), ("workspace_id", "WORKSPACE"), ("envs", "ENVIRONMENTS"),
    ("archived_at", "ARCHIVED"),
)  # fmt: skip
WORKSPACES: Final = (("id", "WORKSPACE"), ("name", "NAME"), ("archived_at", "ARCHIVED"))
GRANTS: Final = (
    ("id", "GRANT"), ("member_id", "MEMBER"), ("role", "ROLE"), ("place", "IN"), ("environment", "ENVIRONMENT"),
)  # fmt: skip
ROLES: Final = click.Choice(["admin", "builder", "reviewer", "viewer"])


@click.group("project", cls=Noun)
def project() -> None:
    """Make, list and change projects and workspaces; say who has which role in them."""


def _at(path: str, id_: str) -> str:
    return f"{path}/{quote(id_, safe='')}"


@project.command("list")
@click.option("--workspace", metavar="ID", help="Of this workspace alone.")
@click.option("--archived", is_flag=True, help="Show archived ones, too.")
@click.pass_obj
def list_projects(caller: Caller, workspace: str | None, archived: bool) -> int:
    """List the projects."""
    query = fields(workspace_id=workspace) | ({"archived": "true"} if archived else {})
    return caller.listing(
        caller.client().call("GET", "/v1/projects", query), PROJECTS, "There are no projects"
    )


@project.command("create")
@click.argument("name")
@click.option("--workspace", required=True, metavar="ID", help="The workspace that it belongs to.")
@click.option("--env", "envs", multiple=True, help="An environment; repeat. By default dev, stage, prod.")
@click.option("--stack", multiple=True, help="What it is built with; repeat.")
@click.option("--path", help="Where in its repositories it lies.")
@click.pass_obj
def create_project(
    caller: Caller, name: str, workspace: str, envs: tuple[str, ...], stack: tuple[str, ...], path: str | None
) -> int:
    """Make a project."""
    body = {"name": name, "workspace_id": workspace} | fields(envs=list(envs), stack=list(stack), path=path)
    reply = caller.client().call("POST", "/v1/projects", body, once=True)
    return caller.show(reply, f"{reply['id']}  {reply['name']}")


@project.command("show")
@click.argument("id", metavar="PROJECT")
@click.pass_obj
def show_project(caller: Caller, id: str) -> int:
    """Show a project."""
    reply = caller.client().call("GET", _at("/v1/projects", id))
    return caller.show(
        reply, [f"{key}: {value}" for key, value in reply.items() if value not in (None, "", [])]
    )


@project.command("change")
@click.argument("id", metavar="PROJECT")
@click.option("--name", help="Another name.")
@click.option("--workspace", metavar="ID", help="Another workspace.")
@click.option("--env", "envs", multiple=True, help="Its environments, all of them; repeat.")
@click.option("--archive/--unarchive", default=None, help="Put it away, or get it back.")
@click.pass_obj
def change_project(
    caller: Caller,
    id: str,
    name: str | None,
    workspace: str | None,
    envs: tuple[str, ...],
    archive: bool | None,
) -> int:
    """Rename or move a project, put it away or get it back."""
    body = fields(name=name, workspace_id=workspace, envs=list(envs), archived=archive)
    reply = caller.client().call("POST", _at("/v1/projects", id), body)
    return caller.show(reply, f"{reply['id']}  {reply['name']}")


@project.command("add-repo")
@click.argument("id", metavar="PROJECT")
@click.argument("repo", metavar="REPOSITORY_ID")
@click.pass_obj
def add_repo(caller: Caller, id: str, repo: str) -> int:
    """Put a repository into a project."""
    reply = caller.client().call("POST", f"{_at('/v1/repos', repo)}/project", {"project_id": id})
    return caller.show(reply, f"{reply['repo_name']} is in {id} now")


@project.command("remove-repo")
@click.argument("repo", metavar="REPOSITORY_ID")
@click.pass_obj
def remove_repo(caller: Caller, repo: str) -> int:
    """Take a repository out of its project."""
    reply = caller.client().call("POST", f"{_at('/v1/repos', repo)}/project", {"project_id": ""})
    return caller.show(reply, f"{reply['repo_name']} is in no project now")


@project.command("workspaces")
@click.option("--archived", is_flag=True, help="Show archived ones, too.")
@click.pass_obj
def list_workspaces(caller: Caller, archived: bool) -> int:
    """List the workspaces that projects belong to."""
    query = {"archived": "true"} if archived else {}
    reply = caller.client().call("GET", "/v1/workspaces", query)
    return caller.listing(reply, WORKSPACES, "There are no workspaces")


@project.command("add-workspace")
@click.argument("name")
@click.pass_obj
def add_workspace(caller: Caller, name: str) -> int:
    """Make a workspace for projects that belong together."""
    reply = caller.client().call("POST", "/v1/workspaces", {"name": name}, once=True)
    return caller.show(reply, f"{reply['id']}  {reply['name']}")


@project.command("change-workspace")
@click.argument("id", metavar="WORKSPACE")
@click.option("--name", help="Another name.")
@click.option("--archive/--unarchive", default=None, help="Put it away, or get it back.")
@click.pass_obj
def change_workspace(caller: Caller, id: str, name: str | None, archive: bool | None) -> int:
    """Rename a workspace, put it away or get it back."""
    reply = caller.client().call("POST", _at("/v1/workspaces", id), fields(name=name, archived=archive))
    return caller.show(reply, f"{reply['id']}  {reply['name']}")


@project.command("grant")
@click.argument("member", metavar="MEMBER")
@click.option("--role", type=ROLES, required=True, help="What the member may do there.")
@click.option(
    "--in", "place", metavar="ID", help="A workspace, project or repository; else the organisation."
)
@click.option("--env", help="Only in this environment, e.g. stage.")
@click.pass_obj
def grant(caller: Caller, member: str, role: str, place: str | None, env: str | None) -> int:
    """Give a member a role in one place, instead of the one in the organisation."""
    body = {"member_id": member, "role": role} | fields(place=place, environment=env)
    reply = caller.client().call("POST", "/v1/grants", body, once=True)
    where = f"{reply['place']} {reply['environment']}".strip()
    return caller.show(reply, f"{reply['id']}  {reply['member_id']} is {reply['role']} in {where}")


@project.command("grants")
@click.option("--member", metavar="ID", help="Of this member alone.")
@click.option("--in", "place", metavar="ID", help="In this place alone.")
@click.pass_obj
def grants(caller: Caller, member: str | None, place: str | None) -> int:
    """List who has which role where."""
    reply = caller.client().call("GET", "/v1/grants", fields(member_id=member, place=place))
    return caller.listing(reply, GRANTS, "There are no grants")


@project.command("ungrant")
@click.argument("id", metavar="GRANT")
@click.pass_obj
def ungrant(caller: Caller, id: str) -> int:
    """End a grant."""
    reply = caller.client().call("DELETE", _at("/v1/grants", id))
    return caller.show(reply, f"{reply['member_id']} is no longer {reply['role']} in {reply['place']}")
