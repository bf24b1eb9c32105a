"""The shipped rules load and answer."""

from builderos.core.actor import Actor
from builderos.trust.policy.rules import Policy
from builderos.trust.policy.schema import Resource


def test_the_shipped_rules_load_and_let_a_sandbox_user_write_the_own_branch() -> None:
    actor = Actor(role="sandbox", id="act_1", name="s", org_id="org_1", repo_id="repo_1", sandbox_id="sbx_1")
    branch = Resource("branch", "br_1", "org_1", repo_id="repo_1", branch_kind="sandbox", sandbox_id="sbx_1")
    assert Policy.default().decide(actor, "files.write", branch).verdict == "allow"
