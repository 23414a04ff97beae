"""A model that says the same to the same question, and a server with the pages in this process."""

import asyncio
import socket
import threading
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from volano.core.errors import RunFailed
from volano.core.responder import Piece
from volano.feedback.mount import add_chat_pages
from volano.feedback.router import feedback_router


class Scripted:
    """Answers with the question itself, word by word, in its own voice."""

    def __init__(self, name, voice, pause_seconds=0.0):
        self.name, self.checkpoint = name, f"checkpoint/{name}-0123"
        self.voice, self.pause_seconds = voice, pause_seconds
        self.asked, self.closed = [], 0
        self.most_messages = 100

    def fitting(self, messages, *, max_tokens):
        return tuple(messages[-self.most_messages :])

    async def stream(self, messages, *, max_tokens, temperature, seed):
        self.asked.append((messages, max_tokens, temperature, seed))
        question = messages[-1].content
        if question == "break":
            raise RunFailed("out of memory", "/secret/path", "Try a shorter question.")
        if question == "crash":
            raise ValueError("a bug")
        try:
            for word in f"{self.voice} {question}".split(" "):
                await asyncio.sleep(self.pause_seconds)
                yield Piece(f"{word} ")
            yield Piece("", ended=question != "long")
        finally:
            self.closed += 1


@contextmanager
def serving(database, models, **options):
    """The address of a server with pages and feedback route."""
    application = FastAPI()
    application.include_router(feedback_router(database))
    add_chat_pages(application, database, models, **options)
    # With the protocol named, asyncio sends at once; without it every answer waits 40 ms.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # at once: who calls before the server runs waits, and is not refused
        config = uvicorn.Config(
            application, log_level="warning", timeout_graceful_shutdown=1, lifespan="off"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
