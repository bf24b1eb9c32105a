"""How many commits and files a sandbox may have (SPEC §3.7), for every way in which a branch grows; its life."""

from datetime import timedelta

from builderos.assets.repositories.schema import Branch
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.notices import service as notices
from builderos.trust.policy import service as policy
from builderos.trust.quotas import service as quotas


def lifetime(unit: Unit) -> timedelta:
    """How long a sandbox and its token live unused: as the settings say, or shorter where the policy file says so."""
    days = unit.settings.token_ttl_days
    return timedelta(days=min(days, policy.document_in_force(unit).limits.days or days))


def take(unit: Unit, branch: Branch, *, commits: int, files: int) -> None:
    """Count `commits` more commits, and `files` as the paths that differ from the base from now on.

    The organisation's policy file may lower what the settings allow.
    Raises the alert `quota_near` at 80 %. Raises `quota_exceeded` and leaves an alert of that name.
    """
    settings, file = unit.settings, policy.document_in_force(unit).limits
    detail = {"commits": branch.commits + commits, "files": files}

    def near() -> None:
        notices.raise_alert(unit, "quota_near", branch.name, detail)

    try:
        if commits:
            limit = min(settings.max_commits_per_sandbox, file.commits or settings.max_commits_per_sandbox)
            quotas.spend("commits per sandbox", used=branch.commits, cost=commits, limit=limit, near=near)
        if files > branch.files:
            limit, cost = settings.max_files_per_sandbox, files - branch.files
            limit = min(limit, file.files or limit)
            quotas.spend("files per sandbox", used=branch.files, cost=cost, limit=limit, near=near)
        if commits:
            counted, org_id = unit.get(quotas.budgets.Budgets), unit.org_id
            unit.after_commit(lambda: counted.done(org_id, "commits"))
    except Problem as problem:
        told = detail | {"limit": problem.extra["limit"], "name": problem.extra["name"]}
        unit.keep(lambda later: notices.raise_alert(later, "quota_exceeded", branch.name, told))
        raise
