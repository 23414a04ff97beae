"""A tiny random checkpoint behind a real server."""

import threading

import pytest
from tiny_decoder import tiny_decoder

from volano.core.errors import DataError, RunFailed
from volano.model.huggingface import save_checkpoint
from volano.serve.application import build_application
from volano.serve.served import ServedModel
from volano.serve.server import running
from volano.text.tokenizer import train_tokenizer


class Kept:
    """A recorder in memory; `failure` is raised instead, once set."""

    def __init__(self):
        self.exchanges, self.failure, self.lock = [], None, threading.Lock()

    def record(self, exchanges):
        with self.lock:
            if self.failure is not None:
                raise self.failure
            taken = {each.request_id for each in self.exchanges}
            for each in exchanges:
                if each.request_id in taken:
                    raise DataError("taken", each.request_id, "Choose another.")
            self.exchanges += exchanges

    def lock_up(self):
        self.failure = RunFailed("locked", "feedback.sqlite", "Try again.")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "checkpoint"
    folder.mkdir()
    tokenizer = train_tokenizer(["what is json", "open a file"] * 3, vocabulary=280)
    model = tiny_decoder(vocabulary=tokenizer.vocabulary, context=256)
    save_checkpoint(folder, model, tokenizer)
    return folder


@pytest.fixture
def serve(checkpoint):
    """Starts servers over the checkpoint; gives the port of each."""
    opened = []

    def start(*, slots=4, waiting=256, names=("tiny",), **settings):
        models = {
            name: ServedModel(
                name, checkpoint, checkpoint=f"checkpoint/{name}", slots=slots, waiting=waiting
            )
            for name in names
        }
        context = running(build_application(models, **settings))
        port = context.__enter__()
        opened.append(context)
        return port

    yield start
    for context in opened:
        context.__exit__(None, None, None)


@pytest.fixture
def kept():
    return Kept()
