"""Patterns: what they fit, what is refused, and that no pattern takes long."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builderos.trust.policy.globs import (
    NamePatterns,
    PathPatterns,
    as_regex,
    matches_name,
    name_fault,
    path_fault,
)
from tests.support.costs import cpu_s


@pytest.mark.parametrize(
    ("pattern", "fits", "not_these"),
    [
        ("src/*", "src/a src/.a src/a.py", "src src/a/b xsrc/a"),
        ("src/**", "src/a src/a/b src/a/b/c", "src srcs/a a/src/b"),
        ("**", "a a/b .x/y", ""),
        ("**/.env", ".env a/.env a/b/.env", ".env/a x.env a/.envx"),
        ("a/**/b", "a/b a/x/b a/x/y/b", "a/bb a/x ab"),
        ("a/**/b/**", "a/b/c a/x/b/y/z a/b/b", "a/b a/x/b"),
        ("**/x/**/y", "x/y a/x/b/y x/x/y/y", "y/x x a/x/b"),
        ("*.py", "a.py .py", "a/b.py a.pyc"),
        ("a*b*c", "abc axbxc abcbc", "ab acb abcx a/bc"),
        ("?.txt", "a.txt é.txt", ".txt ab.txt /.txt"),
        ("a?c/*", "abc/d", "ac/d a/c/d"),
        ("a.b", "a.b", "axb"),
        ("**/*.key", "k.key a/b/k.key", "key a.key/b"),
        ("(x)+$^|", "(x)+$^|", "x xx"),
    ],
)
def test_a_path_pattern_fits_exactly_these(pattern: str, fits: str, not_these: str) -> None:
    assert path_fault(pattern) == ""
    found = PathPatterns([pattern], folded=False)
    assert [path for path in fits.split() if not found.match(path)] == []
    assert [path for path in not_these.split() if found.match(path)] == []


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "./a",
        "a/../b",
        "..",
        "a\\b",
        "a**",
        "**b/c",
        "*.{js,ts}",
        "[ab]",
        "!a",
        "a\n",
        "x" * 257,
    ],
)
def test_what_could_be_meant_otherwise_is_refused(pattern: str) -> None:
    assert path_fault(pattern) != ""


def test_a_denied_name_is_found_however_it_is_written() -> None:
    folded = PathPatterns(["**/Café/.env"], folded=True)
    assert folded.match("x/CAFE\u0301/.ENV")
    assert not PathPatterns(["**/Café/.env"], folded=False).match("x/CAFÉ/.env")


def simple(pattern: str, text: str) -> bool:
    """The plainest matcher there is, slow on purpose: `**/` and `/**` as whole parts, `*` and `?` without slashes."""

    def part(p: str, t: str) -> bool:
        if not p:
            return not t
        if p[0] == "*":
            return part(p[1:], t) or (bool(t) and part(p, t[1:]))
        return bool(t) and (p[0] in ("?", t[0])) and part(p[1:], t[1:])

    def parts(ps: list[str], ts: list[str]) -> bool:
        if not ps:
            return not ts
        if ps == ["**"]:
            return bool(ts)
        if ps[0] == "**":
            return parts(ps[1:], ts) or (bool(ts) and parts(ps, ts[1:]))
        return bool(ts) and part(ps[0], ts[0]) and parts(ps[1:], ts[1:])

    return parts(pattern.split("/"), text.split("/"))


SEGMENTS = st.text("ab*?", min_size=1, max_size=5).filter(lambda s: "**" not in s) | st.just("**")


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(SEGMENTS, min_size=1, max_size=6),
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=6),
)
def test_the_regular_expression_and_the_plainest_matcher_agree(pattern: list[str], path: list[str]) -> None:
    glob, text = "/".join(pattern), "/".join(path)
    assert bool(re.match(as_regex(glob), text, re.DOTALL)) == simple(glob, text)


@settings(max_examples=500, deadline=None)
@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_names_fit_as_in_a_plain_matcher(pattern: str, name: str) -> None:
    wanted = bool(re.fullmatch(pattern.replace("*", ".*"), name))
    assert matches_name(pattern, name) == wanted
    assert NamePatterns([pattern, "zzz"]).which(name) == ((0,) if wanted else ())


def test_a_name_pattern_is_made_of_plain_characters() -> None:
    assert name_fault("sandbox-*") == ""
    for bad in ("", "a b", 'a"b', "a'", "é", "a?b", "x" * 129):
        assert name_fault(bad) != ""


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 120 + "b", "a" * 4000),
        ("/".join(["**", "*a*a*b"] * 24), "/".join(["aaaaaaaaaa"] * 370)),
        ("**/" + "*a" * 100 + "/**/x", "/".join(["a" * 200] * 20)),
        ("/".join(["**/a"] * 50) + "/b", "/".join(["a"] * 2000)),
    ],
)
def test_the_worst_pattern_on_the_longest_path_takes_milliseconds(pattern: str, path: str) -> None:
    assert path_fault(pattern) == ""
    found = PathPatterns([pattern], folded=True)
    assert cpu_s(lambda: found.match(path), tries=1) < 5
    assert not found.match(path)
