"""`volano launch`: its scripts start what they say, and a lost process costs some steps at most."""

import glob
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

RECIPE = """
name: texts
collect: {source: files, paths: [texts.jsonl]}
tokenizer: {vocabulary: 300}
pretrain:
  model: {parameters: 60k, context: 32}
  tokens: 20k
  batch_rows: 8
  accumulate: 2
  precision: float32
  checkpoint_steps: 10
  evaluate_documents: 0
finetune: off
align: off
evaluate: off
"""
DEAD = """
import datetime
import volano.__main__
from volano.train import distributed, helper
helper.meet = lambda: distributed.meet(datetime.timedelta(seconds=1))
helper.main()
"""
WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "hat", "tree", "and", "then"]


@pytest.fixture
def folder(tmp_path):
    draw = random.Random(0)
    lines = [
        json.dumps({"id": f"d{n}", "text": " ".join(draw.choices(WORDS, k=100))}) for n in range(60)
    ]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def volano(folder, *words, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "volano", *words], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def losses(folder):
    (path,) = glob.glob(f"{folder}/checkpoint/texts/base-*/metrics.parquet")
    return pq.read_table(path)["loss"].to_pylist()


def workers(job):
    """The processes that torchrun has started, by rank."""
    found = {}
    listed = subprocess.run(["pgrep", "-P", str(job.pid)], capture_output=True, text=True).stdout
    for each in map(int, listed.split()):
        content = Path(f"/proc/{each}/environ").read_bytes().split(b"\0")
        ranks = [line[5:] for line in content if line.startswith(b"RANK=")]
        found |= {int(rank): each for rank in ranks}
    return found


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds processes by /proc")
@pytest.mark.parametrize(
    "rank", [pytest.param(1, marks=pytest.mark.whole), pytest.param(0, marks=pytest.mark.long)]
)
def test_job_with_a_killed_worker_starts_again_and_ends_with_the_same_loss(folder, rank):
    volano(folder, "run", "recipe.yaml", "--store", "alone")
    volano(folder, "launch", "recipe.yaml", "--processes", "2", "--out", "job.sh", "--store", "job")
    with (folder / "said").open("w") as said:
        job = subprocess.Popen([folder / "job.sh"], stdout=said, stderr=said)
    states = f"{folder}/job/building/*/scratch/states/*[0-9]/state.json"
    deadline = time.monotonic() + 120
    while not glob.glob(states):
        assert time.monotonic() < deadline
        assert job.poll() is None, (folder / "said").read_text()
        time.sleep(0.02)
    before = workers(job)
    kept = max(int(Path(each).parent.name) for each in glob.glob(states))
    os.kill(before[rank], signal.SIGKILL)
    assert job.wait(120) == 0, (folder / "said").read_text()
    (building,) = glob.glob(f"{folder}/job/checkpoint/texts/base-*")
    bill = json.loads(Path(building, "bill.json").read_text())
    assert bill["processes"] == 2
    assert bill["resumed_tokens"] >= kept * 8 * 32  # else it began anew
    assert losses(folder / "job") == pytest.approx(losses(folder / "alone"), rel=1e-4)


def test_script_for_slurm_asks_for_what_was_named(folder):
    named = ["--nodes", "2", "--processes", "4", "--gpus", "--time", "24:00:00", "--cpus", "3"]
    named += ["--partition", "long", "--account", "mine", "--max-restarts", "7"]
    settings = ["pretrain.batch_rows=16", "pretrain.parallel.shard=2"]
    written = volano(folder, "launch", "recipe.yaml", *settings, "--slurm", *named)
    asked = {line.removeprefix("#SBATCH ") for line in written.splitlines() if "#SBATCH" in line}
    assert asked >= {
        "--nodes=2",
        "--ntasks-per-node=1",
        "--cpus-per-task=12",
        "--gpus-per-node=4",
        "--time=24:00:00",
        "--partition=long",
        "--account=mine",
        "--requeue",
    }
    last = written.splitlines()[-1]
    for word in ("--nnodes=2", "--nproc-per-node=4", "--max-restarts=7", *settings):
        assert f" {word} " in last
    assert str(folder / "recipe.yaml") in last
    subprocess.run(["bash", "-n"], input=written, text=True, check=True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--processes", "3"], "data 3 × shard 1 × accumulate 2 = 6 micro-batches"),
        (["--processes", "2", "pretrain.parallel.shard=3"], "= 3 processes, and torchrun starts 2"),
        (["--nodes", "2"], "--endpoint: 2 machines have to meet somewhere"),
        (["--nodes", "2", "--endpoint", "host"], "--endpoint: no address: 'host'"),
        (["--time", "1:00"], "--time: is for a Slurm job"),
        (["--slurm", "--time", "tomorrow"], "--time: no time: 'tomorrow'"),
        (["--slurm", "--partition", "long #"], "--partition: no name: 'long #'"),
    ],
)
def test_what_cannot_start_is_refused_by_launch_and_not_by_the_job(folder, words, told):
    rows = ["pretrain.batch_rows=4"]
    assert told in volano(folder, "launch", "recipe.yaml", *rows, *words, code=2)


def test_dead_rendezvous_is_told_in_one_line(folder):
    # A port that is bound and never answers: whoever listens there later would be met.
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(dead.getsockname()[1])}
        ranks = {"RANK": "1", "WORLD_SIZE": "2"}
        done = subprocess.run(
            [sys.executable, "-c", DEAD], env={**os.environ, **where, **ranks}, capture_output=True
        )
    said = done.stderr.decode()
    assert done.returncode == 1, said
    assert said.startswith(f"volano: training: no answer from 127.0.0.1:{where['MASTER_PORT']}")
    assert said.count("\n") == 1


def test_a_signal_in_the_midst_of_a_line_is_told_too():
    script = (
        "import signal, sys\nfrom volano.train import torchrun\n"
        "signal.signal(signal.SIGTERM, torchrun._stopped_before_it_began)\n"
        "import io\n"
        "class Stream(io.RawIOBase):\n"
        "    def writable(self): return True\n"
        "    begun = False\n"
        "    def write(self, data):\n"
        "        if not self.begun:\n"
        "            self.begun = True\n"
        "            signal.raise_signal(signal.SIGTERM)\n"
        "        return len(data)\n"
        "sys.stderr = io.TextIOWrapper(io.BufferedWriter(Stream()), write_through=True)\n"
        "sys.stderr.write('meeting'); sys.stderr.flush()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "stopped by SIGTERM before all had met" in done.stderr
    assert "reentrant" not in done.stderr


def test_a_machine_that_waits_for_another_says_so_and_how_it_was_stopped():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    asked = ["--nnodes", "2", "--nproc-per-node", "1", "--node-rank", "0"]
    asked += ["--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint, "-m", "volano", "--help"]
    command = [sys.executable, "-m", "volano.train.torchrun", *asked]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as waiting:
        line = waiting.stderr.readline()
        waiting.terminate()
        rest = waiting.communicate(timeout=60)[1]
    assert line == f"volano: launch: meeting the 2 machines at {endpoint} …\n"
    assert rest == "volano: launch: stopped by SIGTERM before all had met. Run it again.\n"
    assert waiting.returncode == 1
