"""One whole turn of the tiny recipe, and two of them, made once and looked at by many tests."""

import pytest
from command_line import SMALLER, volano
from two_turns import TINY

from volano.core.store import Store

pytest.importorskip("torch")


@pytest.fixture(scope="session")
def turn(tmp_path_factory):
    """The store after `volano run tiny/python-docs`, and what was printed."""
    folder = tmp_path_factory.mktemp("wheel")
    done = volano("run", "tiny/python-docs", *SMALLER, "--store", "runs", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture
def store(turn) -> Store:
    return Store(turn[0] / "runs")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder whose `runs` holds two turns, and what was printed."""
    folder = tmp_path_factory.mktemp("second")
    done = volano("run", *TINY, "--store", "runs", cwd=folder, timeout_seconds=900)
    assert done.returncode == 0, done.stderr
    (folder / "printed").write_text(done.stdout)
    return folder
