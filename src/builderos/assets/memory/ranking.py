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
    """(score, entry) of those in which a word occurs: best first, pinned first among equals, then by path."""
    found = [(score, doc) for doc in docs if (score := score_of(doc, terms))]
    found.sort(key=lambda hit: (-hit[0], hit[1].entry.get("pinned") is not True, hit[1].path))
    return found


def score_of(doc: Doc, terms: Sequence[str]) -> int:
    """The score of one entry; 0 where no word occurs."""
    total = 0
    for term in terms:
        points = 0
        if term in doc.low_path:
            points += _in_path(doc.low_path, term)
        if doc.tags:
            points += TAG if term in doc.tags else IN_TAG if any(term in tag for tag in doc.tags) else 0
        at = doc.low_text.find(term)
        if at >= 0:
            points += TEXT_WORD if at == 0 or not doc.low_text[at - 1].isalnum() else IN_TEXT
        if points:
            total += WORD + points
    return total


def _in_path(path: str, term: str) -> int:
    name = path.rpartition("/")[2]
    if term in (path, name, name.rpartition(".")[0]):
        return NAME
    return NAME_BEGIN if name.startswith(term) else IN_PATH
