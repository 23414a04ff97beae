"""What the processes of a run tell each other before it begins."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from toy_run import toy_model, weights_of

from volano.train.distributed import as_first

# The second process, whose weights have come out as another machine's might.
SECOND = """
import sys, torch, torch.distributed as dist
from datetime import timedelta
from toy_run import toy_model
from volano.train.distributed import as_first
meeting, patience = f"file://{sys.argv[1]}/meet", timedelta(seconds=60)
dist.init_process_group("gloo", init_method=meeting, rank=1, world_size=2, timeout=patience)
model = toy_model(seed=1)
as_first(model)
torch.save(model.state_dict(), f"{sys.argv[1]}/second.pt")
dist.destroy_process_group()
"""


def test_all_begin_with_the_weights_of_the_first(tmp_path):
    second = subprocess.Popen(
        [sys.executable, "-c", SECOND, str(tmp_path)], cwd=Path(__file__).parent
    )
    model = toy_model(seed=0)
    before = weights_of(model)
    meeting = f"file://{tmp_path}/meet"
    patience = timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=meeting, rank=0, world_size=2, timeout=patience)
    try:
        as_first(model)
    finally:
        dist.destroy_process_group()
    assert second.wait(timeout=60) == 0
    second_model = toy_model(seed=1)
    assert weights_of(second_model) != before, "else this test shows nothing"
    second_model.load_state_dict(torch.load(tmp_path / "second.pt", weights_only=True))
    assert weights_of(second_model) == weights_of(model) == before
