"""Vectors: those that come along, those of a model, and what happens when one takes the place of the other."""

import math

import pytest
import sqlalchemy as sa

from builderos.assets.memory import ngrams
from builderos.assets.memory.model import memory_vectors
from builderos.assets.memory.ports import Asked, Embedding, NGrams
from builderos.assets.memory.service import tidying
from builderos.core.problems import Problem
from builderos.core.unit import as_system
from tests.support.costs import cpu_s
from tests.support.databases import Databases
from tests.support.upstreams import model_server, provider_file
from tests.support.world import world_in_temp

FILE = "version: 1\ndefault: up/small\nproviders: {{up: {{kind: openai, base_url: {url}, models: {{'*': {{}}}}}}}}\n"


@pytest.fixture(scope="module")
def world(databases: Databases):
    with databases.fresh() as database, world_in_temp(database) as made:
        yield made


@pytest.fixture
def model(world):
    """A model that knows two meanings, and says what it was asked."""
    asked, fault = [], []

    def ask(_context, _call, texts):
        if fault:
            raise Problem("unavailable", "the model sleeps")
        asked.extend(texts)
        return [[1.0, 0.1] if "fruit" in t or "apple" in t else [0.1, 1.0] for t in texts]

    world.context.put(Embedding, Embedding(Asked("house/meaning", ask)))
    yield asked, fault
    world.context.put(Embedding, Embedding(NGrams()))


def like(one, other):
    return math.fsum(a * b for a, b in zip(ngrams.vector(one), ngrams.vector(other), strict=True))


def add(sandbox, body):
    return sandbox.post("/memory/manage", action="add", tier="vector", body=body)["changed"][0]


def search(sandbox, query):
    return sandbox.post("/memory/query", mode="search", tier="all", query=query)


def models(world, *ids):
    wanted = sa.select(memory_vectors.c.model, memory_vectors.c.dim).where(memory_vectors.c.item_id.in_(ids))
    return as_system(world.context, world.org_id, lambda u: sorted({tuple(row) for row in u.execute(wanted)}))


def test_a_vector_has_512_numbers_and_the_length_one():
    made = ngrams.vector("The parser reads quoted strings.")
    assert len(made) == 512
    assert math.isclose(math.fsum(x * x for x in made), 1.0, rel_tol=1e-9)
    assert ngrams.vector("The parser reads quoted strings.") == made
    assert not any(ngrams.vector("... !!"))


def test_near_texts_have_near_vectors_and_the_words_of_all_texts_do_not_count():
    assert like("deployment failed", "deployments fail") > 0.5
    assert like("tokenizer", "tokeniser") > 0.4
    assert like("CAFÉ", "café") > 0.99
    assert abs(like("the cat and the dog", "the rain of the year")) < 0.15
    assert abs(like("parser", "invoice")) < 0.25


def test_a_vector_is_made_in_little_time():
    text = "What lies in a branch is read from git at every call, so a description counts at once. " * 4
    assert cpu_s(lambda: ngrams.vector(text), tries=20) < 0.05


def test_every_text_can_be_made_a_vector():
    for text in ("", "\ud800", "a" * 8000, "語彙 の ベクトル", "\x01\x02", "ß ẞ İ"):
        assert len(ngrams.vector(text)) == 512


def test_a_model_is_asked_behind_the_transaction_and_finds_by_meaning(world, model):
    asked, _ = model
    sandbox = world.open_sandbox()
    one, _two = add(sandbox, "apples are red"), add(sandbox, "cars are loud")
    assert models(world, one) == [("house/meaning", 2)]
    found = search(sandbox, "which fruit")["memories"]
    assert [item["body"] for item in found] == ["apples are red"], "no word of it is there"
    assert asked == ["apples are red", "cars are loud", "which fruit"]
    search(sandbox, "which fruit")
    assert asked.count("which fruit") == 1, "what was asked lately is not asked again"


def test_a_model_that_does_not_answer_costs_the_meaning_and_not_the_memory(world, model):
    _, fault = model
    sandbox = world.open_sandbox()
    fault.append(True)
    id_ = add(sandbox, "apples keep in the cellar")
    assert models(world, id_) == []
    found = search(sandbox, "cellar")
    assert [item["body"] for item in found["memories"]] == ["apples keep in the cellar"]
    assert found["warnings"] == ["found by words alone: the model sleeps"]
    fault.clear()
    tidying.embed_stale(world.context, world.org_id)
    assert models(world, id_) == [("house/meaning", 2)]


def test_another_model_takes_over_bit_by_bit_and_the_two_are_never_compared(world, model):
    sandbox = world.open_sandbox()
    before = world.context.get(Embedding)
    world.context.put(Embedding, Embedding(NGrams()))
    old = add(sandbox, "an apple a day")
    world.context.put(Embedding, before)
    assert models(world, old) == [(ngrams.NAME, 512)]
    assert search(sandbox, "fruit")["memories"] == [], "its vector is of another model"
    assert len(search(sandbox, "apple")["memories"]) == 1, "its words are what they were"
    tidying.tidy(world.context, world.org_id)
    assert models(world, old) == [("house/meaning", 2)]
    assert len(search(sandbox, "fruit")["memories"]) == 1


def test_a_vector_of_an_item_that_changed_meanwhile_is_not_kept(world):
    sandbox = world.open_sandbox()
    id_ = add(sandbox, "first")

    def ask(_context, _call, texts):
        if texts == ["first, changed"]:
            world.context.put(Embedding, Embedding(NGrams()))
            sandbox.post("/memory/manage", action="update", ids=[id_], body="second")
            world.context.put(Embedding, slow)
        return [[1.0, 0.0] for _ in texts]

    slow = Embedding(Asked("slow/model", ask))
    world.context.put(Embedding, slow)
    try:
        sandbox.post("/memory/manage", action="update", ids=[id_], body="first, changed")
        assert models(world, id_) == [(ngrams.NAME, 512)], "the second text's, made while the model thought"
    finally:
        world.context.put(Embedding, Embedding(NGrams()))


@pytest.mark.parametrize(
    "vector", [[], [1.0] * 3073, [1e9], [float("nan")]], ids=["none", "long", "big", "nan"]
)
def test_a_vector_that_cannot_be_kept_is_not_and_the_item_is(world, vector):
    sandbox = world.open_sandbox()
    world.context.put(Embedding, Embedding(Asked("odd/model", lambda *_: [vector])))
    try:
        id_ = add(sandbox, "kept all the same")
        assert len(search(sandbox, "kept")["memories"]) == 1
        assert models(world, id_) == []
    finally:
        world.context.put(Embedding, Embedding(NGrams()))


def test_the_model_that_the_settings_name_is_asked_through_the_gateway(databases, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    with (
        model_server() as upstream, databases.fresh() as database,
        world_in_temp(database, embedding_model="up/small-embedding") as made,
    ):  # fmt: skip
        provider_file(made.home, FILE.format(url=upstream.url))
        where = {"repo_name": "lab", "branch": "main"}
        put = made.as_owner("PUT", "/v1/memory/items", json=where | {"body": "some words", "shared": True})
        assert models(made, made.ok(put)["id"]) == [("up/small-embedding", 2)]
        found = made.as_owner("GET", "/v1/memory/items", params=where | {"q": "unlike"})
        assert [item["similarity"] > 0.9 for item in made.ok(found)["items"]] == [True]
