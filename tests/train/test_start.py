"""Processes that a command starts for itself: same batches, one who writes, a loss that is told."""

import glob
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "hat", "tree", "and", "then"]
SETTINGS = [
    "model.parameters=60k",
    "model.context=32",
    "batch_rows=8",
    "accumulate=2",
    "precision=float32",
    "tokenizer.vocabulary=300",
    "checkpoint_steps=5",
    "evaluate_documents=0",
]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    draw = random.Random(0)
    lines = [
        json.dumps({"id": f"d{n}", "text": " ".join(draw.choices(WORDS, k=100))}) for n in range(60)
    ]
    path.write_text("\n".join(lines))
    return path


def command(texts, store, *settings):
    asked = [part for each in (*SETTINGS, *settings) for part in ("-s", each)]
    return [sys.executable, "-m", "volano", "pretrain", str(texts), "--store", str(store), *asked]


def base_of(store):
    (folder,) = glob.glob(f"{store}/checkpoint/mine/*")
    return folder


def losses(store):
    return pq.read_table(f"{base_of(store)}/metrics.parquet")["loss"].to_pylist()


def started(texts, store, *settings):
    """A run of two processes that has kept a state and is not done."""
    process = subprocess.Popen(
        command(texts, store, "tokens=10M", *settings), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not glob.glob(f"{store}/building/*/scratch/states/*/state.json"):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process, children_of(process)


def children_of(process):
    helpers = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "volano.train.helper"],
        capture_output=True,
        text=True,
    )
    return [int(each) for each in helpers.stdout.split()]


def gone(process_id):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_command_starts_its_processes_and_leaves_what_one_leaves(texts, tmp_path):
    for store, plan in (("one", "data=1"), ("two", "data=2")):
        asked = command(texts, tmp_path / store, "tokens=5k", f"parallel.{plan}")
        subprocess.run(asked, check=True, capture_output=True)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    folders = [base_of(tmp_path / store) for store in ("one", "two")]
    assert os.path.basename(folders[0]) == os.path.basename(folders[1])  # one identity
    assert sorted(os.listdir(folders[0])) == sorted(os.listdir(folders[1]))
    seen = [pq.read_table(f"{folder}/seen.parquet") for folder in folders]
    assert seen[0].equals(seen[1])


def test_torchrun_starts_the_command_and_one_of_it_writes(texts, tmp_path):
    asked = command(texts, tmp_path / "store", "tokens=2k", "parallel.shard=2")[3:]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*launch, "-m", "volano", *asked], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("│ base ") == 1
    bill = json.loads(Path(base_of(tmp_path / "store"), "bill.json").read_text())
    assert bill["processes"] == 2


def test_lost_process_ends_the_run_with_one_line_and_another_number_goes_on(texts, tmp_path):
    process, (helper,) = started(texts, tmp_path, "parallel.shard=2")
    os.kill(helper, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.splitlines()[-1] == (
        "volano: training: process 1 of 2 was killed by signal 9. "
        "Run the same command again: it resumes."
    )
    states = f"{tmp_path}/building/*/scratch/states/*/state.json"
    before = set(glob.glob(states))
    process, helpers = started(texts, tmp_path, "parallel.shard=1")
    assert helpers == []
    while set(glob.glob(states)) <= before:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "goes on at" in said


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, 1, marks=pytest.mark.long),
        (signal.SIGKILL, -9),
    ],
)
def test_no_process_outlives_the_command(texts, tmp_path, number, code):
    process, (helper,) = started(texts, tmp_path, "parallel.data=2")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert gone(helper)


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (
            signal.SIGTERM,
            1,
            "volano: training: stopped by SIGTERM while its processes started. "
            "Run the same command again: it resumes.",
        ),
        pytest.param(
            signal.SIGINT,
            130,
            "volano: stopped. Run the same command again: it goes on where it stopped.",
            marks=pytest.mark.long,
        ),
    ],
)
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away here")
def test_a_start_that_takes_long_is_told_and_can_be_stopped(texts, tmp_path, number, code, said):
    core = min(os.sched_getaffinity(0))
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *command(texts, tmp_path, "tokens=10M", "parallel.data=3")],
        stderr=subprocess.PIPE,
        text=True,
    )
    started = "training: starting 3 processes on 1 core …\n"
    assert started in iter(process.stderr.readline, "")
    helpers = []
    while len(helpers) < 2:
        assert process.poll() is None
        helpers = children_of(process)
    process.send_signal(number)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == code
    assert rest.splitlines() == [said]
    assert all(gone(each) for each in helpers)


def test_plan_is_refused_before_anything_is_made(texts, tmp_path):
    asked = command(texts, tmp_path / "store", "parallel.tensor=5")
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 2
    assert " / tensor 5 = " in done.stderr
    assert not (tmp_path / "store").exists()
