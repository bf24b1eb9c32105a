"""Another organisation's things, through every operation of the OpenAPI document: as if they had never been.

The objects are real ones of one organisation; who asks for them is an owner, an admin and other members of another.
Whatever the answer is, it is word for word the answer for a made-up object.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from builderos.core.actor import MemberRole
from builderos.core.ids import new_id
from tests.support.databases import Databases
from tests.support.world import Json, world_in_temp

from .calls import CALLS
from .scenes import ROLES, Grounds, Scene

DOCUMENT = json.loads((Path(__file__).parents[3] / "openapi.json").read_text())
OPERATIONS = {
    operation["operationId"]: (method.upper(), path)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if isinstance(operation, dict) and "operationId" in operation
}
ID = re.compile(r"([a-z]{2,3}|repo)_[0-9A-HJKMNP-TV-Z]{26}")
SHA = re.compile(r"[0-9a-f]{40}")
# Their body is bytes: what else they are told stands in the query.
OF_BYTES: dict[str, Callable[[Scene], Json]] = {"sendUpload": lambda s: {"id": s.upload_id, "offset": 0}}
# Signed by its sender: that nobody else learns whether it is there is shown in tests/execution/runs/test_hooks.py.
SIGNED: dict[str, Callable[[Scene], Json]] = {"callHook": lambda s: {"id": s.triggers()[1]["id"]}}
# The same for a document that is the model's.
OF_MODELS: dict[str, Callable[[Scene], Json]] = {"invokeEndpoint": lambda s: {"id": s.endpoint_id}}
ASKED = CALLS | OF_BYTES | OF_MODELS | SIGNED
# Their body, address or signature is the credential itself, which acts for the organisation it belongs to.
CARRIES_ITS_OWN = {"viewShared", "acceptInvite", *SIGNED}
OF_THE_SERVER = {"routeOrg"}  # for the server's owner alone, whatever the organisation
NOTHING_OF_OTHERS = 40  # at least so many operations name an object; fewer: the walk has lost its way


@pytest.fixture(scope="module")
def grounds(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    with databases.fresh() as database, world_in_temp(database) as world:
        yield Grounds(world, tmp_path_factory.mktemp("foreign"))


@pytest.fixture(scope="module")
def strangers(grounds: Grounds) -> dict[MemberRole, str]:
    """Tokens of members of the other organisation."""
    return {role: grounds.member(role, org_id=grounds.foreign_org) for role in ROLES}


@pytest.fixture(scope="module")
def scene(grounds: Grounds) -> Scene:
    return Scene(grounds)


# Asked for again, these take away what was there before.
ANEW = {
    "changeIdentityProvider", "removeIdentityProvider", "rotateTriggerSecret", "switchOffTrigger", "callHook",
}  # fmt: skip


@pytest.fixture(scope="module")
def bodies() -> dict[str, Json]:
    """What was made for a call. Nobody in here may do anything with it: it is there for the next test, too."""
    return {}


def body_of(scene: Scene, bodies: dict[str, Json], operation: str) -> Json:
    if operation in ANEW or operation not in bodies:
        bodies[operation] = ASKED[operation](scene)
    return bodies[operation]


def named(scene: Scene, body: Json) -> dict[str, str]:
    """What a call names that belongs to the scene → something made up of the same form."""
    found: dict[str, str] = {}
    for text in re.findall(r"[^\"\s]+", json.dumps(body)):
        if ID.fullmatch(text):
            found[text] = new_id(text.partition("_")[0])  # type: ignore[arg-type]
        elif SHA.fullmatch(text):
            found[text] = text[::-1]
        elif text == scene.sandbox.branch:
            found[text] = "sandbox-nobody-knows"
    return found


def swap(words: dict[str, str], text: str) -> str:
    for real, invented in words.items():
        text = text.replace(real, invented)
    return text


def ask(scene: Scene, token: str, operation: str, body: Json) -> Any:
    method, path = OPERATIONS[operation]
    names = re.findall(r"{(\w+)}", path)
    path = path.format(**{name: body[name] for name in names})
    rest = {name: value for name, value in body.items() if name not in names}
    wire: Json = {"params": rest} if method in ("GET", "DELETE") or operation in OF_BYTES else {"json": rest}
    return scene.world.http.request(method, path, headers={"Authorization": f"Bearer {token}"}, **wire)


def told(response: Any, words: dict[str, str]) -> tuple[int, Json]:
    """An answer without what differs in every one of them, and with made-up names instead of real ones."""
    body = json.loads(swap(words, response.text))
    return response.status_code, {k: v for k, v in body.items() if k not in ("request_id", "instance")}


def test_what_has_no_call_here_takes_no_object() -> None:
    """Signing in, health and the contracts: they know no objects, and the others are all asked."""
    for name in set(OPERATIONS) - set(ASKED):
        assert "{" not in OPERATIONS[name][1], f"write a valid call of {name} into scenes.py"


@pytest.mark.parametrize("operation", sorted(ASKED.keys() & OPERATIONS.keys() - CARRIES_ITS_OWN))
def test_what_another_organisation_has_answers_like_what_nobody_has(
    scene: Scene, bodies: dict[str, Json], strangers: dict[MemberRole, str], operation: str
) -> None:
    body = body_of(scene, bodies, operation)
    words = named(scene, body)
    if not words:
        return
    invented = json.loads(swap(words, json.dumps(body)))
    real = {role: ask(scene, token, operation, body) for role, token in strangers.items()}
    made_up = {role: ask(scene, token, operation, invented) for role, token in strangers.items()}
    same = partial(told, words=words)
    assert {r: same(a) for r, a in real.items()} == {r: same(a) for r, a in made_up.items()}
    answers = {role: answer.json().get("code", "ok") for role, answer in real.items()}
    assert "ok" not in answers.values(), answers
    if any(ID.fullmatch(word) for word in words) and scene.sandbox.branch not in words:
        assert answers["org_owner"] == ("policy_denied" if operation in OF_THE_SERVER else "not_found")
        assert answers["admin"] in ("not_found", answers["viewer"]), (
            "what an admin may not do at all stays refused"
        )
    for answer in real.values():
        assert answer.status_code in (403, 404), answer.text
        leaked = [
            word for word in scene.private("other_org") if word in answer.text and word not in str(body)
        ]
        assert not leaked, answer.text


def test_most_operations_were_asked_for_an_object(scene: Scene, bodies: dict[str, Json]) -> None:
    asked = [name for name in ASKED if named(scene, body_of(scene, bodies, name))]
    assert len(asked) >= NOTHING_OF_OTHERS, asked


@pytest.mark.parametrize("operation", sorted(ASKED.keys() & OPERATIONS.keys() - CARRIES_ITS_OWN))
def test_what_a_neighbour_has_answers_by_its_id_like_what_nobody_has(
    scene: Scene, grounds: Grounds, bodies: dict[str, Json], operation: str
) -> None:
    """With tokens of other sandboxes, of the same repository and of another one. Names of branches are all refused."""
    body = body_of(scene, bodies, operation)
    words = named(scene, body)
    if not any(ID.fullmatch(word) and word not in (grounds.repo_id, scene.world.org_id) for word in words):
        return
    invented = json.loads(swap(words, json.dumps(body)))
    for token in (grounds.other.token, grounds.other_repo.token):
        real, made_up = ask(scene, token, operation, body), ask(scene, token, operation, invented)
        assert told(real, words) == told(made_up, words)
        assert real.status_code in (403, 404), real.text
