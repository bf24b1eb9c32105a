"""Organisations with members, made as every one is: by the server's owner and an invite."""

from dataclasses import dataclass
from itertools import count
from typing import Any

from .lab import Lab
from .world import Json

_numbers = count()


@dataclass
class Person:
    """A member who is signed in."""

    team: "Team"
    id: str
    tokens: Json

    @property
    def headers(self) -> dict[str, str]:
        """Authorization with the access token."""
        return {"Authorization": f"Bearer {self.tokens['access_token']}"}

    def call(self, method: str, path: str, /, **body: Any) -> Any:
        """A call as this member."""
        wire: Json = {"json": body} if method in ("POST", "PUT") else {"params": body}
        return self.team.lab.world.http.request(method, path, headers=self.headers, **wire)


class Team:
    """An organisation and its first owner, `ann@acme.example`."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.slug = f"acme-{next(_numbers)}"
        body = {"slug": self.slug, "name": "Acme", "owner_email": "ann@acme.example"}
        self.made: Json = lab.ok(lab.as_owner("POST", "/v1/orgs", json=body), 201)
        self.owner = self.accept(self.made["invite_token"], name="Ann")

    def accept(self, token: str, **body: Any) -> Person:
        """Join with an invite."""
        reply = self.lab.ok(self.try_accept(token, **body))
        return Person(self, reply["member_id"], reply)

    def try_accept(self, token: str, **body: Any) -> Any:
        """Like `accept`, but returns the response, whatever it is."""
        return self.lab.world.http.post("/v1/invites/accept", json={"invite_token": token, **body})

    def invite(self, email: str, role: str, by: Person | None = None) -> Json:
        """Invite somebody."""
        return self.lab.ok((by or self.owner).call("POST", "/v1/invites", email=email, role=role), 201)

    def join(self, role: str, by: Person | None = None) -> Person:
        """A new member with a role."""
        return self.accept(self.invite(f"p{next(_numbers)}@acme.example", role, by)["invite_token"])


def calls_that_let_in(member_id: str) -> list[tuple[str, Json]]:
    """What lets somebody in, or gives a member rights: path and body of each POST."""
    program = {"name": "x", "redirect_uris": ["https://x.example/back"]}
    return [
        ("/v1/invites", {"email": f"puppet{next(_numbers)}@acme.example", "role": "admin"}),
        ("/v1/service-accounts", {"label": "puppet", "role": "admin"}),
        ("/v1/oauth-clients", program),
        (f"/v1/members/{member_id}", {"role": "admin"}),
        ("/v1/grants", {"member_id": member_id, "role": "builder", "environment": "stage"}),
    ]
