"""Two turns of the tiny recipe, looked at by many tests."""

import pytest
from two_turns import copy_of_two_turns

from volano.core.store import Store

pytest.importorskip("torch")


@pytest.fixture(scope="session")
def turn(tmp_path_factory):
    """The store after `volano run tiny/python-docs`, and what was printed."""
    folder = copy_of_two_turns(tmp_path_factory, "wheel")
    return folder, (folder / "printed").read_text()


@pytest.fixture
def store(turn) -> Store:
    return Store(turn[0] / "runs")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder whose `runs` holds two turns, and `printed` what was printed."""
    return copy_of_two_turns(tmp_path_factory, "second")
