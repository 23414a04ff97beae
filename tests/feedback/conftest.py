"""A database of each kind: SQLite in a folder, and a real PostgreSQL that the tests start."""

import getpass
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from volano.feedback.database import Database


def _program(name: str) -> str | None:
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return str(newest[0]) if newest else shutil.which(name)


def _as_somebody() -> tuple[list[str], str]:
    """What runs a command as a user that PostgreSQL accepts: it refuses root."""
    if os.geteuid() != 0:
        return [], getpass.getuser()
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        if shutil.which("setpriv"):
            ids = [f"--reuid={found.pw_uid}", f"--regid={found.pw_gid}", "--clear-groups"]
            return ["setpriv", *ids], name
    pytest.skip("PostgreSQL refuses root, and there is no other user to run it as")


@pytest.fixture(scope="session")
def postgresql_server():
    """The folder of the socket of a PostgreSQL that was started for the tests."""
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL is not installed (initdb, pg_ctl)")
    pytest.importorskip("psycopg")
    prefix, user = _as_somebody()
    folder = Path(tempfile.mkdtemp(prefix="volano-pg-"))  # tmp_path is closed to other users
    if prefix:
        shutil.chown(folder, user)
    data = folder / "data"

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*prefix, *command], capture_output=True, text=True, cwd=folder)

    made = run(initdb, "-D", str(data), "-A", "trust", "-U", "volano", "--no-sync")
    if made.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"initdb: {made.stderr.strip().splitlines()[-1]}")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder}"
    start = ("-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    started = run(pg_ctl, *start)
    if started.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"pg_ctl: {started.stderr.strip()}")
    yield folder
    run(pg_ctl, "-D", str(data), "-m", "immediate", "stop")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_url(postgresql_server, request):
    """A fresh database in it."""
    import psycopg

    name = f"t{abs(hash(request.node.nodeid))}"
    address = f"postgresql://volano@/postgres?host={postgresql_server}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
    return address.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The URL of an empty database of each kind."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_url")
    return f"sqlite:///{tmp_path}/folder/feedback.sqlite"


@pytest.fixture
def database(url):
    """An open database of each kind."""
    opened = Database.open(url)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_database(tmp_path):
    """An open SQLite database, for what does not depend on the kind."""
    opened = Database.open(str(tmp_path / "feedback.sqlite"))
    yield opened
    opened.close()
