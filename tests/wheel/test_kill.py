"""A run that is killed at any moment ends, run again, in the same bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from command_line import volano

pytestmark = pytest.mark.xdist_group("kill")
SETTINGS = [
    "pretrain.tokens=120k",
    "pretrain.checkpoint_steps=2",
    "finetune.checkpoint_steps=2",
    "align.checkpoint_steps=2",
    "align.function_pairs=50",
    "evaluate=off",
    "tokenizer.vocabulary=400",
    "collect.held_out_functions=0",
    "users=off",
    "turn=off",
]


# Within how many seconds of which sign a stage is killed: a training once it has kept a state.
MOMENTS = {
    "collected": ("scratch", 0.5),
    "curated": ("scratch", 0.2),
    "base": ("scratch/**/state.json", 0.5),
    "sft": ("scratch/**/state.json", 0.5),
    "aligned": ("scratch/**/state.json", 0.5),
}


def digests(folder):
    done = volano(*command("undisturbed"), "--json", cwd=folder)
    return {each["stage"]: each["digest"] for each in json.loads(done.stdout)}


def command(store):
    return ["run", "tiny/python-docs", *SETTINGS, "--store", store]


def begin(tmp_path, store, **output):
    return subprocess.Popen(
        [sys.executable, "-m", "volano", *command(store)],
        cwd=tmp_path,
        text=True,
        start_new_session=True,
        **output,
    )


def wait_for(process, tmp_path, pattern):
    """Until that stage of the run is under way; it must not have ended before."""
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(pattern)):
        assert time.monotonic() < deadline
        assert process.poll() is None, f"the run ended before {pattern} was seen"
        time.sleep(0.02)


def test_ctrl_c_says_in_one_line_that_the_same_command_goes_on(tmp_path):
    process = begin(tmp_path, "stopped", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_for(process, tmp_path, "stopped/building/*base*/scratch")
    time.sleep(2)  # torch is imported, training runs
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("volano: stopped. Run the same command again")
    assert "Traceback" not in said


@pytest.mark.whole
def test_run_killed_at_random_moments_ends_in_the_digests_of_an_undisturbed_one(tmp_path):
    done = volano(*command("undisturbed"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    moments = random.Random(7)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for stage, (sign, most_seconds) in MOMENTS.items():
        process = begin(tmp_path, "killed", **quiet)
        wait_for(process, tmp_path, f"killed/building/*{stage}*/{sign}")
        time.sleep(moments.uniform(0, most_seconds))
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended first, so nothing is shown"
    resumed = volano(*command("killed"), "--json", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    found = {each["stage"]: each["digest"] for each in json.loads(resumed.stdout)}
    assert found == digests(tmp_path)
    assert set(found) >= set(MOMENTS)
