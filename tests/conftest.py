"""What every test may ask for, and what is left out where torch is not installed."""

import os
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

# `make test &` in a script is started deaf to Ctrl-C, and so would be the commands under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Golden figures are of the processor, also on a machine with a GPU: `device: auto` is to find none.
asked_for_gpu = any("gpu" in each and "not gpu" not in each for each in sys.argv)
if "PYTEST_XDIST_WORKER" not in os.environ and not asked_for_gpu:  # workers take this over
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

# Stand-ins that several test files of a folder share (toy_steps.py, tiny_decoder.py …).
sys.path += [str(folder) for folder in sorted(Path(__file__).parent.iterdir()) if folder.is_dir()]

# The rooms of the data side are tested without torch too; these need it.
NEED_TORCH = [
    "align",
    "evaluate",
    "finetune",
    "model",
    "parity",
    "pretrain",
    "serve",
    "study",
    "train",
]
NEED_TORCH += ["wheel", "docs/test_commands.py"]
NEED_SKLEARN = [f"diagnose/test_{each}.py" for each in ("alike", "clusters", "findings")]
NEED_SERVE = ["feedback"]  # the extra that holds the database and the pages
collect_ignore = [] if find_spec("torch") else NEED_TORCH
collect_ignore += [] if find_spec("sqlalchemy") else NEED_SERVE
collect_ignore += [] if find_spec("sklearn") else NEED_SKLEARN


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout that the tests stand in."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def can_mount():
    """Skips where the kernel allows no private mounts; root ignores chmod, so these are needed."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    tried = subprocess.run(
        ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"], capture_output=True
    )
    if tried.returncode:
        pytest.skip(f"mounting is not permitted here: {tried.stderr.decode().strip()}")
