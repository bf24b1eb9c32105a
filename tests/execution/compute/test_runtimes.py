"""The files that say what is approved are read strictly."""

import pytest

from builderos.core.problems import Problem
from builderos.execution.compute.approved import _narrowed  # pyright: ignore[reportPrivateUsage]
from builderos.execution.compute.schema import Probe, host_rule
from builderos.execution.compute.service import parse_provider, parse_runtimes, require_tier

IMAGE = "registry.example/x/py@sha256:" + "a" * 64
GOOD = f"""
runtimes: [{{name: py311, kind: local, languages: [python]}}, {{name: py311-img, image: "{IMAGE}"}}]
profiles: [{{name: small, cpu: 1, memory: 1Gi, gpu: 0, max_seconds: 3600, price: 1}}]
"""


def test_the_example_of_the_specification_is_read() -> None:
    found = parse_runtimes(GOOD)
    assert [(r.name, r.kind, r.image) for r in found.runtimes] == [
        ("py311", "local", None), ("py311-img", "image", IMAGE),
    ]  # fmt: skip
    limits = found.profile("small").limits()
    assert (limits.cpu, limits.memory, limits.wall_s) == (1, 1 << 30, 3600)
    assert found.profile("small").limits(60).wall_s == 60
    assert found.profile("small").limits(99999).wall_s == 3600, "a step cannot outlast its profile"


def test_a_runtime_that_is_not_listed_is_not_approved() -> None:
    with pytest.raises(Problem) as refusal:
        parse_runtimes(GOOD).runtime("py312")
    assert (refusal.value.code, refusal.value.status) == ("runtime_not_approved", 403)
    assert refusal.value.extra["allowed"] == ["py311", "py311-img"]


def test_a_profile_that_is_not_listed_is_refused() -> None:
    with pytest.raises(Problem) as refusal:
        parse_runtimes(GOOD).profile("huge")
    assert refusal.value.code == "validation_failed"


@pytest.mark.parametrize(
    "text",
    [
        "runtimes: [{name: a, kind: local, path: /etc}]",
        "runtimes: [{name: a, image: 'x/py:latest'}]",
        "runtimes: [{name: a}]",
        f"runtimes: [{{name: a, kind: local, image: '{IMAGE}'}}]",
        "runtimes: [{name: a, kind: local}, {name: a, kind: local}]",
        "runtimes: [{name: ../a, kind: local}]",
        "profiles: [{name: a, memory: 1 Gi}]",
        "profiles: [{name: a, cpu: 0}]",
        "profiles: [{name: a, max_seconds: -1}]",
        "profiles: [{name: a, cpu: .inf}]",
        "runtimes: {a: b}",
        "other: 1",
        "runtimes: [",
        "[" * 5000,
        "a: &a [1]\nb: *a",
        "!!python/object/apply:os.system ['true']",
        "x" * (300 * 1024),
    ],
    ids=range(17),
)
def test_a_file_that_is_not_exactly_right_is_refused(text: str) -> None:
    with pytest.raises(Problem) as refusal:
        parse_runtimes(text)
    assert refusal.value.code == "validation_failed"
    assert refusal.value.extra["errors"]


def test_an_empty_file_approves_nothing() -> None:
    assert parse_runtimes("").runtimes == ()


def test_a_provider_says_its_tier_and_hosts() -> None:
    found = parse_provider("provider: local\ntier: weak\nhosts: [api.example.com]\n", "local")
    assert (found.tier, found.hosts, found.enabled) == ("weak", ("api.example.com",), True)


@pytest.mark.parametrize(
    "text", ["provider: docker", "provider: local\ntier: none", "provider: local\nx: 1", "tier: weak"]
)
def test_a_provider_that_is_not_what_its_folder_says_is_refused(text: str) -> None:
    with pytest.raises(Problem) as refusal:
        parse_provider(text, "local")
    assert refusal.value.code == "validation_failed"


def test_the_stronger_tier_is_never_replaced_by_the_weaker() -> None:
    weak = Probe("local", "weak", ("Install bubblewrap.",))
    assert require_tier(weak, "weak") == "weak"
    assert require_tier(Probe("local", "strong"), "weak") == "strong"
    with pytest.raises(Problem) as refusal:
        require_tier(weak, "strong")
    assert (refusal.value.code, refusal.value.hint) == ("policy_denied", "Install bubblewrap.")
    with pytest.raises(Problem) as refusal:
        require_tier(Probe("local", None, ("Linux only.",)), "weak")
    assert refusal.value.code == "unavailable"


@pytest.mark.parametrize(
    ("text", "rule"),
    [("a.test", ("a.test", 443)), ("*.a.test:8443", ("*.a.test", 8443)), ("localhost:80", ("localhost", 80))],
)
def test_a_host_rule_has_a_name_and_a_port(text: str, rule: tuple[str, int]) -> None:
    assert host_rule(text) == rule


@pytest.mark.parametrize(
    "text", ["", "*", "*.*.test", "a.*", "A.test", "a.test:0", "a.test:99999", "1.2.3.4", "a b", "a\n"]
)
def test_what_is_no_host_is_no_rule(text: str) -> None:
    with pytest.raises(ValueError):
        host_rule(text)


def test_folders_of_a_runtime_are_searched_first_and_no_main_can_name_them() -> None:
    text = "runtimes: [{name: py, kind: local, folders: [/opt/env, /opt/python]}]"
    file = parse_runtimes(text)
    assert file.runtime("py").path.startswith("/opt/env/bin:/opt/python/bin:/usr/local/sbin:")
    assert parse_runtimes("runtimes: [{name: py, kind: local}]").runtime("py").path == ""
    assert _narrowed(None, file).runtimes == ()
    assert _narrowed(file, file).runtimes == file.runtimes


@pytest.mark.parametrize("folder", ["/", "/opt", "opt/env", "/opt/../etc", "/opt/env/", "/opt/a:b"])
def test_a_folder_that_is_no_whole_path_is_refused(folder: str) -> None:
    with pytest.raises(Problem, match="is not valid"):
        parse_runtimes(f"runtimes: [{{name: py, kind: local, folders: ['{folder}']}}]")
