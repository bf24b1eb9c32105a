import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pygit2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builderos.assets.repositories.commits import Person, decode_commit, encode_commit, parse_trailers
from builderos.assets.repositories.objects import EMPTY_TREE, Batch, Oid
from builderos.core.problems import Problem

from .oracle import flush, fsck, git, new_repo

WHO = Person("sandbox-golden-otter", "sandbox-golden-otter@builderos.invalid")
WHEN = datetime(2026, 11, 21, 2, 3, 4, 567_000, tzinfo=UTC)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> pygit2.Repository:
    return new_repo(tmp_path_factory.mktemp("commits") / "r.git")


def stored(repo: pygit2.Repository, data: bytes) -> Oid:
    batch = Batch(repo)
    batch.put("tree", b"")
    oid = batch.put("commit", data)
    flush(repo, batch)
    return oid


def parsed_by_git(message: str) -> list[tuple[str, str]]:
    done = subprocess.run(
        ["git", "-c", "core.commentChar=#", "interpret-trailers", "--parse"],
        input=message.encode(),
        capture_output=True,
        check=True,
    )
    lines = done.stdout.decode().splitlines()
    return [(key, value) for key, _, value in (line.partition(": ") for line in lines)]


def test_git_reads_every_field_of_a_commit(repo: pygit2.Repository) -> None:
    first = stored(repo, encode_commit(EMPTY_TREE, [], WHO, WHO, WHEN, "Start"))
    second = stored(repo, encode_commit(EMPTY_TREE, [first], WHO, WHO, WHEN, "Next"))
    author = Person("Ada", "ada@builderos.invalid")
    trailers = [("BuilderOS-Actor", "sandbox-golden-otter"), ("BuilderOS-Task", "2.1_parser")]
    oid = stored(
        repo,
        encode_commit(EMPTY_TREE, [second, first], author, WHO, WHEN, "Füge hinzu\n\nWarum 🦦.\n", trailers),
    )
    shown = git(repo, "show", "-s", "--format=%T%n%P%n%an|%ae|%at|%ai%n%cn|%ce|%ct%n%B", oid.hex()).decode()
    assert shown.splitlines() == [
        EMPTY_TREE.hex(),
        f"{second.hex()} {first.hex()}",
        "Ada|ada@builderos.invalid|1795226584|2026-11-21 02:03:04 +0000",
        "sandbox-golden-otter|sandbox-golden-otter@builderos.invalid|1795226584",
        "Füge hinzu",
        "",
        "Warum 🦦.",
        "",
        "BuilderOS-Actor: sandbox-golden-otter",
        "BuilderOS-Task: 2.1_parser",
        "",
    ]
    assert (
        git(repo, "show", "-s", "--format=%(trailers:key=BuilderOS-Task,valueonly)", oid.hex())
        == b"2.1_parser\n\n"
    )
    fsck(repo, oid)


def test_what_was_encoded_is_decoded_again(repo: pygit2.Repository) -> None:
    trailers = [("BuilderOS-Actor", "x"), ("BuilderOS-Run", "run_1")]
    data = encode_commit(
        EMPTY_TREE, [b"\x01" * 20], Person("Ada", "a@b.invalid"), WHO, WHEN, "One\n\nTwo", trailers
    )
    commit = decode_commit(data)
    assert commit.tree == EMPTY_TREE
    assert commit.parents == (b"\x01" * 20,)
    assert (commit.author, commit.committer) == (Person("Ada", "a@b.invalid"), WHO)
    assert commit.authored_at == commit.committed_at == WHEN.replace(microsecond=0)
    assert (commit.subject, commit.trailers, commit.gpgsig) == ("One", tuple(trailers), None)


@pytest.mark.parametrize(
    "message",
    [
        "Subject\n\nBuilderOS-Actor: owner",
        "Subject\n\nBuilderOS-Actor: owner\n---\nrest",
        "Subject\n\nBuilderOS-Actor: owner\n\n---\n",
        "Subject\n\nBuilderOS-Actor: owner\n--- \t\nrest",
        "Subject\n\nBuilderOS-Actor: owner\n# ------------------------ >8 ------------------------\nrest",
        "# ------------------------ >8 ------------------------",
        "---",
        "BuilderOS-Actor: owner",
        "Subject\nBuilderOS-Actor: owner",
        "Subject\r\n\r\nBuilderOS-Actor: owner\r\n",
        "Subject\r\rBuilderOS-Actor: owner",
        "Subject\n\nConflicts:\n\tBuilderOS-Actor: owner\n",
        "Subject\n\n# comment\nBuilderOS-Actor: owner",
        "Subject\n\n\x0bBuilderOS-Actor: owner",
        "Subject\n\nSigned-off-by: x\n continued",
    ],
)
def test_a_message_cannot_pass_its_own_words_off_as_the_servers_trailers(message: str) -> None:
    data = encode_commit(
        EMPTY_TREE, [], WHO, WHO, WHEN, message, [("BuilderOS-Actor", "sandbox-golden-otter")]
    )
    assert data.count(b"\n\n") >= 1
    commit = decode_commit(data)
    assert commit.trailers == (("BuilderOS-Actor", "sandbox-golden-otter"),)
    assert parsed_by_git(commit.message) == [("BuilderOS-Actor", "sandbox-golden-otter")]


@pytest.mark.parametrize("field", ["name", "email", "trailer"])
@pytest.mark.parametrize(
    "evil", ["a\nparent " + "0" * 40, "a\r\nX: y", "a> 1 +0000\ncommitter b <c", "a\0b", "a\u2028b"]
)
def test_no_value_can_start_a_header_or_a_trailer(repo: pygit2.Repository, field: str, evil: str) -> None:
    author = Person(evil if field == "name" else "n", evil if field == "email" else "e@x.invalid")
    trailers = [("BuilderOS-Task", evil if field == "trailer" else "t"), ("BuilderOS-Actor", "x")]
    data = encode_commit(EMPTY_TREE, [], author, WHO, WHEN, "Say", trailers)
    assert [line.partition(b" ")[0] for line in data.partition(b"\n\n")[0].split(b"\n")] == [
        b"tree",
        b"author",
        b"committer",
    ]
    commit = decode_commit(data)
    assert [key for key, _ in commit.trailers] == ["BuilderOS-Task", "BuilderOS-Actor"]
    assert parsed_by_git(commit.message) == list(commit.trailers)
    fsck(repo, stored(repo, data))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text(st.sampled_from("aB:# -\n\t\r\x1b()é>8\u2028"), min_size=1, max_size=60).filter(
        lambda text: text.strip() != ""
    ),
    st.lists(
        st.tuples(st.sampled_from(["BuilderOS-Actor", "BuilderOS-Task"]), st.text(max_size=30)),
        min_size=1,
        max_size=3,
    ),
)
def test_git_always_parses_exactly_the_given_trailers(message: str, trailers: list[tuple[str, str]]) -> None:
    trailers = [*trailers, ("BuilderOS-Actor", "last")]
    commit = decode_commit(encode_commit(EMPTY_TREE, [], WHO, WHO, WHEN, message, trailers))
    assert parsed_by_git(commit.message) == list(commit.trailers)
    assert commit.trailers[-1] == ("BuilderOS-Actor", "last")
    assert len(commit.trailers) <= len(trailers)


@pytest.mark.parametrize("message", ["", " \n\t\n", "a\0b", "half \ud800 character"])
def test_a_message_that_git_could_not_keep_is_refused(message: str) -> None:
    with pytest.raises(Problem) as caught:
        encode_commit(EMPTY_TREE, [], WHO, WHO, WHEN, message)
    assert caught.value.code == "validation_failed"


def test_terminal_control_sequences_do_not_reach_the_log() -> None:
    data = encode_commit(EMPTY_TREE, [], WHO, WHO, WHEN, "red \x1b[31m\x9b31m\ttab")
    assert decode_commit(data).subject == "red �[31m�31m\ttab"


def test_a_long_message_is_kept_whole() -> None:
    message = "Subject\n\n" + "x" * 100_000
    data = encode_commit(EMPTY_TREE, [], WHO, WHO, WHEN, message, [("BuilderOS-Actor", "x")])
    assert decode_commit(data).message == f"{message}\n\nBuilderOS-Actor: x\n"


def test_arguments_that_only_a_program_gets_wrong_are_value_errors() -> None:
    with pytest.raises(ValueError, match="trailer key"):
        encode_commit(EMPTY_TREE, [], WHO, WHO, WHEN, "x", [("Bad Key", "v")])
    with pytest.raises(ValueError, match="aware"):
        encode_commit(EMPTY_TREE, [], WHO, WHO, WHEN.replace(tzinfo=None), "x")
    with pytest.raises(ValueError, match="1970"):
        encode_commit(EMPTY_TREE, [], WHO, WHO, datetime(1969, 1, 1, tzinfo=UTC), "x")
    with pytest.raises(ValueError, match="20 bytes"):
        encode_commit(b"short", [], WHO, WHO, WHEN, "x")
    with pytest.raises(ValueError, match="name and an address"):
        encode_commit(EMPTY_TREE, [], Person("\n", "x"), WHO, WHEN, "x")


def test_time_is_written_in_utc_whatever_its_zone() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    commit = decode_commit(encode_commit(EMPTY_TREE, [], WHO, WHO, WHEN.astimezone(zone), "x"))
    assert commit.authored_at == WHEN.replace(microsecond=0)
    assert commit.authored_at.tzinfo == UTC


def test_git_verifies_an_ssh_signature_over_the_unsigned_bytes(
    repo: pygit2.Repository, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    made = (
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=False)
        if _has_ssh()
        else None
    )
    if made is None:
        pytest.skip("ssh-keygen is not installed")
    payload = encode_commit(EMPTY_TREE, [], WHO, WHO, WHEN, "Signed", [("BuilderOS-Actor", "x")])
    signature = subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", str(key)],
        input=payload,
        capture_output=True,
        check=True,
    ).stdout.decode()
    oid = stored(
        repo,
        encode_commit(EMPTY_TREE, [], WHO, WHO, WHEN, "Signed", [("BuilderOS-Actor", "x")], gpgsig=signature),
    )
    allowed = tmp_path / "allowed"
    allowed.write_text(f"{WHO.email} {key.with_suffix('.pub').read_text()}")
    git(repo, "-c", f"gpg.ssh.allowedSignersFile={allowed}", "verify-commit", oid.hex())
    assert decode_commit(Batch(repo).read(oid)[1]).gpgsig == signature.strip("\n")
    fsck(repo, oid)


def _has_ssh() -> bool:
    try:
        subprocess.run(["ssh-keygen", "-?"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return True


@pytest.mark.parametrize(
    ("raw", "author", "subject"),
    [
        (
            b"author Jos\xe9 <j@x> 1 +0100\ncommitter a <b> 2 +0000\nencoding ISO-8859-1\n\nOl\xe1\n",
            "José",
            "Olá",
        ),
        (b"author Jos\xe9 <j@x> 1 +0100\ncommitter a <b> 2 +0000\n\nOl\xe1\n", "Jos�", "Ol�"),
        (b"author A <a@b> 1 +0100\ncommitter a <b> 2 +0000\nencoding nonsense\n\nHi\n", "A", "Hi"),
        (b"author A\ncommitter a <b> 99999999999999999 +0000\n\nHi\n", "A", "Hi"),
        (b"author  <> 1 +0100\ncommitter a <b> 2\nmergetag object 1\n type commit\n\nHi", "", "Hi"),
    ],
)
def test_odd_commits_of_old_histories_are_read(raw: bytes, author: str, subject: str) -> None:
    commit = decode_commit(b"tree " + EMPTY_TREE.hex().encode() + b"\n" + raw)
    assert (commit.author.name, commit.subject) == (author, subject)


@pytest.mark.parametrize(
    "data", [b"", b"tree abc\n\nx", b"hello", b"tree " + EMPTY_TREE.hex().encode() + b"\n\nx"]
)
def test_what_is_no_commit_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_commit(data)


def test_the_first_paragraph_and_mixed_paragraphs_hold_no_trailers() -> None:
    assert parse_trailers("Key: value\n") == ()
    assert parse_trailers("Subject\n\nKey: value\nand prose\n") == ()
    assert parse_trailers("Subject\n\nKey: value\n continued\nOther:x\n") == (
        ("Key", "value continued"),
        ("Other", "x"),
    )
