"""What every provider of deployments keeps, whatever it is built on."""

import threading
from collections.abc import Iterator

import pytest

from builderos.core.problems import Problem
from builderos.execution.compute.schema import Secret
from builderos.workloads.deployments.ports import Check, Health
from tests.support.deployers import QUAYS, Quay, get
from tests.support.sandboxes import until


@pytest.fixture(scope="module", params=list(QUAYS))
def quay(request: pytest.FixtureRequest) -> Iterator[Quay]:
    with QUAYS[request.param]() as made:
        yield made


def test_a_version_is_served_only_once_it_is_promoted(quay: Quay) -> None:
    release = quay.server(quay.place(), "one")
    assert quay.deployer.deploy(release).stage == "building"
    standing = quay.until(release.ref)
    assert (standing.stage, standing.url) == ("ready", "")
    live = quay.deployer.promote(release.ref)
    assert live.stage == "live"
    assert get(live.url).text.startswith("one /")
    assert quay.deployer.status(release.ref) == live
    assert quay.deployer.health(release.ref).well is True


def test_deploying_again_under_one_name_deploys_nothing(quay: Quay) -> None:
    release = quay.server(quay.place(), "one")
    live = quay.live(release)
    assert quay.deployer.deploy(release) == live
    assert quay.deployer.promote(release.ref) == live
    printed = quay.deployer.logs(release.ref).data
    assert printed == b"listening as one\n", "it was started once"


def test_the_version_before_answers_until_the_new_one_is_well(quay: Quay) -> None:
    place = quay.place()
    first = quay.live(quay.server(place, "one"))
    broken = quay.server(place, "two", check=Check("/health", status=204, within_s=0.3))
    quay.deployer.deploy(broken)
    failed = quay.until(broken.ref)
    assert failed.stage == "failed"
    assert "it was not well within 0.3 s" in failed.detail
    with pytest.raises(Problem) as refused:
        quay.deployer.promote(broken.ref)
    assert refused.value.code == "illegal_transition"
    assert get(first.url).text.startswith("one ")


def test_a_switch_fails_no_request(quay: Quay) -> None:
    place = quay.place()
    url = quay.live(quay.server(place, "one")).url
    stop, seen, faults = threading.Event(), list[str](), list[object]()

    def ask(path: str, body: bytes | None) -> None:
        while not stop.is_set():
            try:
                reply = get(url, path, "GET" if body is None else "POST", body)
                seen.append(reply.text.split()[0]) if reply.status == 200 else faults.append(reply)
            except OSError as error:
                faults.append(error)

    asking = [
        threading.Thread(target=ask, args=args)
        for args in (("/", None), ("/slow", None), ("/post", b"x" * 200_000))
    ]
    for thread in asking:
        thread.start()
    for word in ("two", "three"):
        assert quay.live(quay.server(place, word)).url == url, "the address stays"
        until(lambda word=word: word in seen)
    stop.set()
    for thread in asking:
        thread.join()
    assert not faults
    assert set(seen) == {"one", "two", "three"}


def test_a_rollback_brings_the_version_before_back(quay: Quay) -> None:
    place = quay.place()
    one = quay.server(place, "one")
    two = quay.server(place, "two")
    url = quay.live(one).url
    quay.live(two)
    assert get(url).text.startswith("two")
    back = quay.deployer.rollback(place)
    assert (back.ref, back.stage, back.url) == (one.ref, "live", url)
    assert get(url).text.startswith("one")
    assert quay.deployer.status(two.ref).stage == "ready"


def test_nothing_before_the_first_version_can_come_back(quay: Quay) -> None:
    place = quay.place()
    for _ in range(2):
        with pytest.raises(Problem) as refused:
            quay.deployer.rollback(place)
        assert refused.value.code == "conflict"
        quay.live(quay.server(place, "one"))


def test_two_places_are_two_addresses(quay: Quay) -> None:
    urls = [quay.live(quay.server(quay.place(), word)).url for word in ("one", "two")]
    assert [get(url).text.split()[0] for url in urls] == ["one", "two"]
    hosts = {url.rpartition(":")[0] for url in urls}
    assert len(hosts) == 2, "cookies know no ports: each place is a site of its own"


def test_a_version_finds_its_variables_and_secrets(quay: Quay) -> None:
    release = quay.server(quay.place(), "one", env=(("COLOUR", "blue"),), secrets=(Secret("KEY", "hush"),))
    assert get(quay.live(release).url).text == "one / blue hush"


def test_a_command_that_ends_says_so(quay: Quay) -> None:
    release = quay.server(quay.place(), "one", command="echo going; exit 7")
    quay.deployer.deploy(release)
    failed = quay.until(release.ref)
    assert failed.stage == "failed"
    assert "exit code 7" in failed.detail


def test_a_failed_version_may_be_deployed_again(quay: Quay) -> None:
    release = quay.server(quay.place(), "one", command="exit 1")
    quay.deployer.deploy(release)
    assert quay.until(release.ref).stage == "failed"
    assert quay.deployer.deploy(release).stage == "building"


def test_whoever_watches_hears_of_a_version_that_is_unwell_and_well_again(quay: Quay) -> None:
    heard: list[tuple[str, Health]] = []
    quay.deployer.watch(lambda ref, health: heard.append((ref, health)))
    release = quay.server(quay.place(), "one")
    url = quay.live(release).url
    with pytest.raises((OSError, AssertionError)):
        assert get(url, "/crash").status == 200
    until(lambda: [health.well for ref, health in heard if ref == release.ref] == [False, True])
    assert "exit code 3" in heard[0][1].detail
    until(lambda: get(url).status == 200)
    quay.deployer.watch(lambda _ref, _health: None)


def test_a_stopped_version_is_forgotten_and_answers_no_more(quay: Quay) -> None:
    release = quay.server(quay.place(), "one")
    url = quay.live(release).url
    for _ in range(2):
        quay.deployer.stop(release.ref)
    with pytest.raises(Problem) as refused:
        quay.deployer.status(release.ref)
    assert refused.value.code == "not_found"
    with pytest.raises(OSError, match="refused"):
        get(url)


@pytest.mark.parametrize("verb", ["status", "promote", "health", "logs"])
def test_what_was_never_deployed_is_not_found(quay: Quay, verb: str) -> None:
    with pytest.raises(Problem) as refused:
        getattr(quay.deployer, verb)("dep_0")
    assert refused.value.code == "not_found"
