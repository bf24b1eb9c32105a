import subprocess
import sys
import unicodedata
from pathlib import Path

import pygit2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builderos.assets.repositories.objects import Batch
from builderos.assets.repositories.trees import Edit, edit_tree
from builderos.core.paths import (
    MAX_DEPTH,
    MAX_NAME_BYTES,
    MAX_PATH_BYTES,
    check_path,
    first_collision,
    fold,
)
from builderos.core.problems import Problem

from .oracle import flush, fsck, git, new_repo

GOOD = [
    "a",
    "src/a.py",
    "README.md",
    "docs/Ürsprung — α.md",
    "写真/猫 01.png",
    "🦦/👩‍💻.txt",
    "app/[id]/(group)/@modal/page.tsx",
    "app/[[...slug]].ts",
    "routes/+page.svelte",
    "a b/c  d",
    "...three",
    ".env.example",
    ".gitignore",
    "sub/.gitattributes",
    ".gitmodules",
    ".github/workflows/ci.yml",
    ".gitlab-ci.yml",
    ".gitkeep",
    "git/config",
    "x.git/config",
    "git~",
    "a~1.txt",
    "backup~",
    "console.log",
    "con_",
    "auxiliary.c",
    "com10",
    "lpt",
    "null",
    "-flag",
    "$HOME",
    "%PATH%",
    "#x#",
    "a;b&c'd`e",
    "می‌خواهم.txt",
    "x" * MAX_NAME_BYTES,
    "é" * (MAX_NAME_BYTES // 2),
    "/".join(["x"] * MAX_DEPTH),
    "/".join(["y" * 81] * 49),
]

BAD = [
    ("empty", ["", "a//b", "/", "a/", "//a"], {"empty", "absolute", "empty_component"}),
    ("absolute", ["/etc/passwd", "/a"], {"absolute"}),
    ("home", ["~", "~/.ssh/config", "~root/x"], {"home"}),
    ("dots", [".", "..", "../a", "a/../b", "a/./b", "a/..", "./a"], {"dot_component"}),
    ("backslash", ["a\\b", "..\\x", "\\\\host\\share", "C:\\x"], {"backslash"}),
    ("control", ["a\0b", "a\nb", "a\tb", "a\x1b[31m", "a\x7fb", "a\x85b", "a\u2028b"], {"control_character"}),
    ("hidden", ["photo\u202egpj.exe", "a\u2066b", "\ufeffa"], {"hidden_character"}),
    (
        "unseen",
        [
            "sec\u200brets/x",
            "a\u00adb",
            "a\u034fb",
            "a\u2060",
            "a\u3164b",
            "a\ufe0fb",
            "a\U000e0041b",
            "a\u200db",
        ],
        {"hidden_character"},
    ),
    ("surrogate", ["a\ud800", "\udcff"], {"not_unicode"}),
    ("nfd", [unicodedata.normalize("NFD", "é.txt"), "a/" + unicodedata.normalize("NFD", "Ü")], {"not_nfc"}),
    ("drive", ["C:/x", "c:x", "a:b", "a/b:stream:$DATA"], {"windows_character"}),
    ("windows", ["a*", "what?", "a|b", "a<b", "a>b", 'a"b'], {"windows_character"}),
    ("trailing", ["a.", "a /b", "a/b.", "a/b. ."], {"trailing_dot_or_space"}),
    (
        "device",
        [
            "con",
            "CON",
            "Con.txt",
            "a/nul",
            "aux.c",
            "PRN.tar.gz",
            "com1",
            "COM9.log",
            "lpt3",
            "com¹",
            "LPT².x",
            "com³",
            "conin$",
            "CONOUT$",
            "CONOUT$.txt",
            "nul .txt",
            "con/a",
            "ＣＯＮ",
        ],
        {"windows_device"},
    ),
    (
        "git",
        [
            ".git",
            ".git/config",
            "a/.git/hooks/x",
            ".GIT",
            ".Git/x",
            ".gIt",
            ".git.",
            ".git ",
            ".git. .",
            ".git...",
            "git~1",
            "GIT~1/config",
            "git~12",
            ".g\u200cit",
            ".git\u200d",
            "\u200e.git",
            ".g\u200fi\u206at",
            ".GI\u200cT/x",
            "．git",
            "gitmod~1",
            "GITATT~3",
            "gi7eba~1",
            "gi7d29~9",
        ],
        {"git_folder", "hidden_character", "trailing_dot_or_space"},
    ),
    (
        "git by stream",
        [".git::$INDEX_ALLOCATION", ".git:x", "a/.git::$INDEX_ALLOCATION/config"],
        {"windows_character"},
    ),
    (
        "git's files",
        [
            ".GITMODULES",
            ".gitModules",
            "a/.Gitattributes",
            ".gitignore ",
            ".gitmodules.",
            ".git\u200cmodules",
            ".gitIGNORE",
        ],
        {"git_file_disguised", "hidden_character"},
    ),
    ("long", ["x" * (MAX_NAME_BYTES + 1), "é" * 128, "a/" + "猫" * 86], {"name_too_long"}),
    ("long path", ["a/" * (MAX_PATH_BYTES // 2) + "b", "é/" * (MAX_PATH_BYTES // 3) + "bb"], {"too_long"}),
    ("deep", ["a/" * MAX_DEPTH + "b"], {"too_deep"}),
]


@pytest.mark.parametrize("path", GOOD, ids=lambda path: ascii(path)[:40])
def test_an_ordinary_path_passes_unchanged(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    ("path", "rules"),
    [(path, rules) for _, paths, rules in BAD for path in paths],
    ids=lambda value: ascii(value)[:40] if isinstance(value, str) else "",
)
def test_a_dangerous_path_is_refused_with_its_rule_and_what_to_do(path: str, rules: set[str]) -> None:
    with pytest.raises(Problem) as caught:
        check_path(path)
    problem = caught.value
    assert (problem.code, problem.status) == ("invalid_path", 400)
    assert problem.extra["rule"] in rules
    assert problem.hint
    assert problem.extra["path"] in problem.detail
    problem.detail.encode()
    assert problem.detail.isprintable()
    assert len(problem.detail) < 1500


def test_everything_that_passes_is_accepted_by_git_with_all_protections_on(tmp_path: Path) -> None:
    repo = new_repo(tmp_path / "r.git")
    batch = Batch(repo)
    blob = Edit(batch.put("blob", b""))
    tree = edit_tree(batch, None, {f"{number}/{path}": blob for number, path in enumerate(GOOD[:-2])})
    flush(repo, batch)
    fsck(repo, tree)
    protections = ["-c", "core.protectHFS=true", "-c", "core.protectNTFS=true"]
    env = {"GIT_INDEX_FILE": str(tmp_path / "index"), "GIT_WORK_TREE": str(tmp_path)}
    git(repo, *protections, "read-tree", tree.hex(), **env)


@pytest.mark.parametrize(
    "path", [path for name, paths, _ in BAD for path in paths if name in ("git", "dots")]
)
def test_what_git_itself_refuses_as_its_own_folder_we_refuse_too(tmp_path: Path, path: str) -> None:
    """The other direction of the same oracle: git's verdict on these spellings, where it has one, is ours."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    protected = ["git", "-C", str(tmp_path), "-c", "core.protectHFS=true", "-c", "core.protectNTFS=true"]
    add = ["update-index", "--add", "--cacheinfo", f"100644,{'1' * 40},{path}"]
    done = subprocess.run([*protected, *add], capture_output=True, check=False)
    if done.returncode != 0:
        with pytest.raises(Problem):
            check_path(path)


@given(st.text(max_size=12))
def test_any_text_is_either_passed_or_refused_cleanly_and_what_passes_stays_inside(text: str) -> None:
    try:
        path = check_path(text)
    except Problem as problem:
        refusal = problem
    else:
        refusal = None
    if refusal is not None:
        assert refusal.code == "invalid_path"
        refusal.detail.encode()
        return
    assert path == text
    assert unicodedata.is_normalized("NFC", path)
    assert not {"", ".", ".."} & set(path.split("/"))
    assert (
        pygit2.Index().add(pygit2.IndexEntry(path, pygit2.Oid(hex="1" * 40), pygit2.enums.FileMode.BLOB))
        is None
    )


def test_folding_is_stable_and_blind_to_case_and_form_for_every_character() -> None:
    for number in range(sys.maxunicode + 1):
        char = chr(number)
        if unicodedata.category(char) in ("Cs", "Cn", "Co"):
            continue
        folded = fold(char)
        assert fold(folded) == folded, hex(number)
        assert fold(unicodedata.normalize("NFD", char)) == folded, hex(number)
        assert fold(unicodedata.normalize("NFKC", char)) == folded, hex(number)
        assert fold(char.lower()) == folded, hex(number)


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["a", "b"], None),
        (["a/x", "a/y", "a/x"], None),
        (["A", "a"], ("A", "a")),
        (["src/a", "SRC/b"], ("src", "SRC")),
        (["a/b/Ä", "a/b/ä"], ("a/b/Ä", "a/b/ä")),
        (["a", "A/b"], ("a", "A")),
    ],
)
def test_two_new_paths_that_differ_only_by_case_are_found(
    paths: list[str], found: tuple[str, str] | None
) -> None:
    assert first_collision(paths) == found
