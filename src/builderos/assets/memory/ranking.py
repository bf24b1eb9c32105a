"""Which entries answer a question best: words against path, tags and description, in an order that never wavers."""

from collections.abc import Iterable, Sequence
from typing import Final

from builderos.assets.workspaces.service import remembered

MAX_TERMS: Final = 12
Doc = remembered.Doc

# One matching word more outweighs any better match of the others: whoever types two words means both.
WORD: Final = 100
NAME, NAME_BEGIN, IN_PATH = 8, 6, 3
TAG, IN_TAG = 5, 2
TEXT_WORD, IN_TEXT = 3, 2


def terms_of(query: str) -> tuple[str, ...]:
    """The words of a question, each once, in lower case; at most twelve."""
    words = query.casefold().replace(",", " ").replace(";", " ").split()
    return tuple(dict.fromkeys(words))[:MAX_TERMS]


def search(docs: Iterable[Doc], terms: Sequence[str]) -> list[tuple[int, Doc]]:
    """(score, entry) of those in which a word occurs: best first, pinned first among equals, then by path.

    `docs` come in the order of their paths; the sort is stable, so that order remains among equals.
    """
    found = [(score, doc) for doc in docs if (score := score_of(doc, terms))]
    found.sort(key=_rank, reverse=True)
    return found


def _rank(hit: tuple[int, Doc]) -> int:
    return hit[0] * 2 + (hit[1].pinned)


def score_of(doc: Doc, terms: Sequence[str]) -> int:
    """The score of one entry; 0 where no word occurs."""
    path, text, tags = doc.low_path, doc.low_text, doc.tags
    total = 0
    for term in terms:
        points = _in_path(path, term) if term in path else 0
        if tags:
            points += TAG if term in tags else IN_TAG if term in "\n".join(tags) else 0
        at = text.find(term)
        if at >= 0:
            points += TEXT_WORD if at == 0 or not text[at - 1].isalnum() else IN_TEXT
        if points:
            total += WORD + points
    return total


def _in_path(path: str, term: str) -> int:
    name = path.rpartition("/")[2]
    if term in (path, name, name.rpartition(".")[0]):
        return NAME
    return NAME_BEGIN if name.startswith(term) else IN_PATH
