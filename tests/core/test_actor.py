"""What a credential proves about who acts."""

import pytest

from builderos.core.actor import Actor, Role, is_anonymous


@pytest.mark.parametrize(
    ("role", "member_id", "opened_by", "anonymous"),
    [
        ("anonymous", None, None, True), ("sandbox", None, None, True), ("sandbox", "mem_1", "mem_1", False),
        ("sandbox", None, "act_owner", False), ("owner", None, None, False), ("builder", "mem_1", None, False),
        ("api_key", None, None, False), ("anonymous", None, "act_owner", True),
    ],
)  # fmt: skip
def test_a_workspace_is_anonymous_unless_somebody_known_opened_it(
    role: Role, member_id: str | None, opened_by: str | None, anonymous: bool
) -> None:
    actor = Actor(role, "act_1", "somebody", "org_1", member_id=member_id, opened_by=opened_by)
    assert is_anonymous(actor) is anonymous
