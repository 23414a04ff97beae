"""Scripted people ask over HTTP, and a run that is taken up again asks nobody twice."""

import json
import shutil

import pytest

pytest.importorskip("torch")
pytest.importorskip("fastapi")

from tiny_decoder import tiny_decoder

from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.errors import RunFailed
from volano.core.recipe import Section
from volano.core.records import Conversation, Document, table_of
from volano.core.step import Step
from volano.core.store import Store
from volano.model.huggingface import save_checkpoint
from volano.study import users
from volano.study.section import UsersSection
from volano.study.users import USERS
from volano.text.tokenizer import train_tokenizer

TEXT = """function: json.f{n}
module: json
signature: f{n}(x)

Return the {n}th part of what is given.
"""


def make(store, name, kind, run):
    step = Step(name, kind, 1, Section, run)
    return store.make(store.order(step, Section(), {}, name=f"toy/{name}"), silent=True).artifact


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.fixture
def inputs(store):
    def checkpoint(section, inputs, context):
        tokenizer = train_tokenizer(["what does json do", "return a part"] * 3, vocabulary=280)
        model = tiny_decoder(vocabulary=tokenizer.vocabulary, context=256)
        save_checkpoint(context.folder, model, tokenizer)

    def corpus(record, records):
        def run(section, inputs, context):
            write_shard(shard_path(context.folder, "data", 0), table_of(records, record))
            finish_corpus(context.folder, record.__name__.lower())

        return run

    functions = [
        Document(
            id=f"f{n}",
            text=TEXT.format(n=n),
            source="toy",
            kind="function",
            metadata=json.dumps(
                {"qualified_name": f"json.f{n}", "summary": f"Return the {n}th part of it."}
            ),
        )
        for n in range(6)
    ]
    return {
        "model": make(store, "model", "checkpoint", checkpoint),
        "documents": make(store, "documents", "corpus", corpus(Document, functions)),
        "safety": make(store, "safety", "corpus", corpus(Conversation, [])),
    }


@pytest.fixture
def ask(store, inputs):
    section = UsersSection(
        functions=6, clients=2, max_answer_tokens=8, database_url=str(store.folder / "feedback.db")
    )

    def run():
        return store.make(store.order(USERS, section, inputs, name="toy/users"), silent=True)

    return run


def exchanges(store):
    from volano.feedback.database import Database

    database = Database.open(str(store.folder / "feedback.db"), create=False)
    found = [(exchange, events) for exchange, events in database.exchanges()]
    database.close()
    return found


def test_a_run_taken_up_again_asks_nothing_twice(store, ask, monkeypatch):
    said, question_of = [], users.Person.ask

    def fails(person, question, section):
        if len(said) == 4:
            raise RunFailed("the power went", "here", "Run again.")
        said.append(question)
        return question_of(person, question, section)

    with monkeypatch.context() as patched:
        patched.setattr(users.Person, "ask", fails)
        with pytest.raises(RunFailed, match="the power went"):
            ask()
    before = len(exchanges(store))
    assert 0 < before <= 4
    made = ask().artifact
    after = exchanges(store)
    assert len(after) == made.corpus().manifest["records"] > before
    assert all(events for _, events in after)


def test_an_answer_that_differs_from_the_earlier_attempt_is_one_more(store, ask, inputs):
    from volano.feedback.database import Database

    first = ask().artifact
    database = Database.open(str(store.folder / "feedback.db"))
    exchange, _ = next(database.exchanges())
    database.erase_request(exchange.request_id)
    database.close()
    # Erased ids stay taken, as an exchange with another answer would be.
    shutil.rmtree(first.folder)
    again = ask().artifact
    ids = [each.request_id for each, _ in exchanges(store)]
    assert len(ids) == again.corpus().manifest["records"]
    assert exchange.request_id not in ids
    assert any(each.startswith(exchange.request_id) for each in ids)
