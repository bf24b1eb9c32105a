"""Where a scope holds: a repository has two names, its own and its project's, and an environment may have two, too."""

import pytest

from builderos.trust.policy.document import Scope
from builderos.trust.policy.merging import Scene, fits


@pytest.mark.parametrize(
    ("pattern", "repository", "home", "holds"),
    [
        ("bots", "shop", "bots", True),
        ("shop", "shop", "bots", True),
        ("*", "shop", "bots", True),
        ("lab", "shop", "bots", False),
        ("shop", "shop", None, True),
        ("bots", "shop", None, False),
        ("bots", None, "bots", True),
        ("*", None, None, False),
    ],
)
def test_a_project_scope_holds_for_a_repository_by_either_name(
    pattern: str, repository: str | None, home: str | None, holds: bool
) -> None:
    assert fits(Scope(project=pattern), Scene("me", repository, home=home)) is holds


@pytest.mark.parametrize(
    ("pattern", "environment", "holds"),
    [
        ("stage", "staging", True),
        ("staging", "stage", True),
        ("staging", "staging", True),
        ("prod", "staging", False),
        ("staging", None, False),
        ("stag*", "stage", True),
    ],
)
def test_staging_is_another_word_for_stage(pattern: str, environment: str | None, holds: bool) -> None:
    assert fits(Scope(environment=pattern), Scene("me", environment=environment)) is holds
