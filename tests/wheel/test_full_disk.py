"""A disk that fills up while weights, a resume state or a tokenizer are written: one clear line.

Their libraries' own writers raise errors that name neither the disk nor the file.
"""

import subprocess
import sys

import pytest

WRITERS = {
    "weights": """
from volano.model.decoder import Decoder, initialise, shape_for
from volano.model.huggingface import save_checkpoint
model = Decoder(shape_for(1_400_000, 4096, 128))
initialise(model, 1)
def write(): save_checkpoint(disk, model)
""",
    "resume state": """
import torch
from volano.train.checkpoint import State
from volano.train.keeper import Keeper
state = State(3, {"weight": torch.zeros(1_000_000)}, {}, {}, {}, [], [], [], False, None, 0.0)
def write():
    with Keeper(disk, most=2) as keeper:
        keeper.keep(state)
""",
    "tokenizer": """
from volano.text.tokenizer import train_tokenizer
from pydoc_data.topics import topics
tokenizer = train_tokenizer(topics.values(), vocabulary=1_000)
def write(): tokenizer.save(disk)
""",
}
TRY = """
from volano.core.errors import RunFailed
try:
    write()
except RunFailed as problem:
    print(problem)
    print(sorted(path.name for path in disk.rglob("*") if path.is_file()))
else:
    print("it fitted")
"""


@pytest.mark.parametrize("what", WRITERS)
def test_full_disk_is_named_and_nothing_half_written_stays(what, tmp_path, can_mount):
    (tmp_path / "disk").mkdir()
    code = f"from pathlib import Path\ndisk = Path({str(tmp_path / 'disk')!r})\n"
    shell = f'set -e; mount -t tmpfs -o size=16k tmpfs {tmp_path}/disk; exec "$@"'
    command = [sys.executable, "-c", code + WRITERS[what] + TRY]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", shell, "sh", *command], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said, left = done.stdout.splitlines()
    assert "disk full. Free some space and run again" in said
    assert left == "[]"
