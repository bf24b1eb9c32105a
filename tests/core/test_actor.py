"""What a credential proves about who acts."""

import pytest

from builderos.core.actor import Actor, Role, is_anonymous


@pytest.mark.parametrize(
    ("role", "member_id", "anonymous"),
    [
        ("anonymous", None, True), ("sandbox", None, True), ("sandbox", "mem_1", False), ("owner", None, False),
        ("builder", "mem_1", False), ("api_key", None, False),
    ],
)  # fmt: skip
def test_a_workspace_is_anonymous_unless_a_member_opened_it(
    role: Role, member_id: str | None, anonymous: bool
) -> None:
    assert is_anonymous(Actor(role, "act_1", "somebody", "org_1", member_id=member_id)) is anonymous
