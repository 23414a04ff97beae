"""One whole turn of the tiny recipe, made once and looked at by many tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from volano.core.store import Store

pytest.importorskip("torch")
# A model of a tenth of the tiny recipe: these tests are about data and records, not about skill.
SMALLER = [
    "collect.held_out_functions=150",
    "pretrain.tokens=30k",
    "finetune.epochs=0.1",
    "align.function_pairs=20",
    "evaluate.choice_items=40",
    "evaluate.bits_documents=20",
    "evaluate.answers=12",
    "evaluate.seeds=1",
    "evaluate.safety_prompts=24",
]


def volano(*arguments: str, cwd: Path, timeout_seconds: float = 300) -> subprocess.CompletedProcess:
    """The command line in a process of its own, as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", "volano", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"},
    )


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
