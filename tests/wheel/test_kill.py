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
    "pretrain.tokens=40k",
    "pretrain.checkpoint_steps=2",
    "finetune=off",
    "align=off",
    "evaluate=off",
    "tokenizer.vocabulary=400",
    "collect.kinds=[topic, readme]",
    "collect.held_out_functions=0",
]


def digests(folder):
    done = volano(*command("undisturbed"), "--json", cwd=folder)
    return {each["stage"]: each["digest"] for each in json.loads(done.stdout)}


def command(store):
    return ["run", "tiny/python-docs", *SETTINGS, "--store", store]


def test_run_killed_at_random_moments_ends_in_the_digests_of_an_undisturbed_one(tmp_path):
    begun = time.monotonic()
    done = volano(*command("undisturbed"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    seconds = time.monotonic() - begun
    moments, killed = random.Random(7), 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "volano", *command("killed")],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # The work of a killed attempt is kept, so a later moment may find the run ended.
        time.sleep(moments.uniform(0.2, 0.5) * seconds)
        os.killpg(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed == 3, "each attempt must be stopped half way, or nothing is shown"
    resumed = volano(*command("killed"), "--json", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    found = {each["stage"]: each["digest"] for each in json.loads(resumed.stdout)}
    assert found == digests(tmp_path)
    assert set(found) >= {"collected", "curated", "tokenizer", "tokens", "base"}
