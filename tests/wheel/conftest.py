"""One whole turn of the tiny recipe, made once and looked at by many tests."""

import pytest
from command_line import SMALLER, volano

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
