"""A server that is killed while it writes feedback has kept every event that it acknowledged."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
from said import exchange

from volano.feedback.database import Database

ROUNDS = 20
WRITERS = 3
SERVER = """
import socket
import sys
import uvicorn
from fastapi import FastAPI
from volano.feedback.database import Database
from volano.feedback.router import feedback_router

database = Database.open(sys.argv[1])
if sys.argv[3] == "forgetful":  # acknowledges first and writes a moment later
    import threading
    keep, waiting = database.add, []
    database.add = lambda *rows: waiting.append(rows)
    threading.Timer(0.4, lambda: [keep(*rows) for rows in waiting]).start()
application = FastAPI()
application.include_router(feedback_router(database))
listener = socket.socket(fileno=int(sys.argv[2]))
uvicorn.Server(uvicorn.Config(application, log_level="error")).run(sockets=[listener])
"""


class Server:
    """A child process; its socket is bound here, so that its port is never taken by another."""

    def __init__(self, url: str, manner: str) -> None:
        self.socket = socket.socket(proto=socket.IPPROTO_TCP)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(128)
        handle = self.socket.fileno()
        os.set_inheritable(handle, True)
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, url, str(handle), manner], pass_fds=[handle]
        )

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.socket.close()


def acknowledged_before_a_kill(url: str, name: str, manner: str, seconds: float) -> set[str]:
    """Events that a server acknowledged until it was killed that long after the first of them."""
    server = Server(url, manner)
    acknowledged: set[str] = set()
    began = threading.Event()

    def write(writer: int) -> None:
        with httpx.Client(base_url=server.address, timeout=30) as client:
            for number in range(100_000):
                event = {"id": f"{name}-{writer}-{number}", "request_id": "r1", "helpful": 3}
                try:
                    response = client.post("/v1/feedback", json=event)
                except httpx.TransportError:
                    return
                assert response.status_code == 200, response.text
                acknowledged.update(response.json()["ids"])
                began.set()

    writers = [threading.Thread(target=write, args=(n,)) for n in range(WRITERS)]
    for each in writers:
        each.start()
    assert began.wait(30)
    time.sleep(seconds)
    server.kill()
    for each in writers:
        each.join()
    return acknowledged


def kept(url: str) -> set[str]:
    database = Database.open(url)
    found = {event.id for event, _, _ in database.events()}
    database.close()
    return found


@pytest.fixture
def ready_url(tmp_path):
    url = str(tmp_path / "feedback.sqlite")
    database = Database.open(url)
    database.record([exchange()])
    database.close()
    return url


def test_twenty_kills_lose_no_acknowledged_event(ready_url):
    moments = random.Random(7)
    acknowledged: set[str] = set()
    for place in range(ROUNDS):
        seconds = moments.uniform(0, 0.3)
        found = acknowledged_before_a_kill(ready_url, f"round{place}", "honest", seconds)
        assert found, "the kill came before the first acknowledgement"
        acknowledged |= found
        assert acknowledged - kept(ready_url) == set()
    assert len(acknowledged) > ROUNDS


def test_a_server_that_acknowledges_before_it_writes_would_be_found_out(ready_url):
    acknowledged = acknowledged_before_a_kill(ready_url, "forgetful", "forgetful", 0.1)
    assert acknowledged - kept(ready_url)
