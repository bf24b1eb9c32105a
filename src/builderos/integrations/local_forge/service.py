"""The local host: branches are served by our own smart HTTP, pull requests by our own API."""

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch, Repository
from builderos.assets.repositories.service import RepositoryStore
from builderos.assets.workspaces.ports import HostPull, Protection
from builderos.assets.workspaces.service import add_comment
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource


class LocalForge:
    """Shows the refs of the stores as they are."""

    name = "local"

    def push(self, unit: Unit, branch: Branch) -> str:
        """Bring the ref that git clients see to the branch's tip."""
        store = unit.get(RepositoryStore)
        repositories.ready(unit, branch)
        shown = store.read_ref(branch.store, branch.ref)
        repo = store.open(branch.store)
        if shown not in (None, branch.tip) and shown in repo and not repo.descendant_of(branch.tip, shown):
            raise Problem(
                "conflict", f"{branch.name} would be rewritten", hint="Run `builderos doctor`.", conflicts=[]
            )
        repositories.sync_ref(unit, branch)
        return branch.tip

    def open_pull(self, unit: Unit, pull: HostPull) -> str:
        """The promotion's own address."""
        return f"{unit.settings.public_url or ''}/v1/pulls/{pull.id}"

    def comment(self, unit: Unit, pull_id: str, text: str) -> str:
        """Keep the comment with the promotion."""
        number = add_comment(unit, pull_id, unit.actor.name, text)
        return f"{unit.settings.public_url or ''}/v1/pulls/{pull_id}#comment-{number}"

    def merged(self, unit: Unit, pull_id: str, target: Branch, sha: str) -> None:
        """The journal moves our own main; here it is only made sure that it did."""
        found = repositories.branch_by_id(unit, target.id)
        if found.tip != sha:
            raise Problem(
                "conflict",
                f"{target.name} is not at {sha[:12]} after merging {pull_id}",
                hint="Promote again.",
                conflicts=[],
            )

    def protections(self, unit: Unit, repo: Repository) -> list[Protection]:
        """What the policy says about the shared branches, asked branch by branch: nothing here is assumed."""
        return [
            self._protection(unit, branch)
            for branch in repositories.list_branches(unit, repo.id, shared=True)
        ]

    def _protection(self, unit: Unit, branch: Branch) -> Protection:
        resource = Resource(
            kind="branch", id=branch.id, org_id=unit.org_id, repo_id=branch.repo_id, branch_kind=branch.kind,
            project=branch.repo_name, branch=branch.name,
        )  # fmt: skip
        pull = Resource(
            kind="pull", id="protection", org_id=unit.org_id, repo_id=branch.repo_id, branch_kind="dev",
            target_kind=branch.kind, project=branch.repo_name, branch=branch.name,
        )  # fmt: skip
        merge = policy.decide(unit, "pull.merge", pull)
        return Protection(
            branch=branch.name,
            direct_writes=policy.decide(unit, "files.write", resource).verdict != "allow",
            force_pushes=True,  # no door moves a branch to a commit that does not descend from its tip
            deletion=True,  # no door deletes a shared branch
            needs_approval=merge.verdict != "allow",
        )
