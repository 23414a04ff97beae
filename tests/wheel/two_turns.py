"""Two turns of the tiny recipe, made once for all processes, and what tests ask of them."""

import fcntl
import json
import os
import shutil

import pyarrow.parquet as pq
from command_line import volano

from volano.core.finding import load_findings
from volano.core.records import Conversation, Message
from volano.core.store import Store

NAME = "tiny-python-docs"
TINY = "tiny/python-docs"


def copy_of_two_turns(tmp_path_factory, name):
    """A folder of one's own whose `runs` holds what `volano run` makes of the recipe, and `printed`
    what it said. The first process that asks makes it, the others wait and copy."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "two-turns"
    shared.mkdir(exist_ok=True)
    with open(shared / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "printed").exists():
            done = volano("run", TINY, "--store", "runs", cwd=shared, timeout_seconds=900)
            assert done.returncode == 0, done.stderr
            (shared / "printed").write_text(done.stdout)
    folder = tmp_path_factory.mktemp(name)
    shutil.copytree(shared, folder, dirs_exist_ok=True)
    return folder


def run(folder, *arguments, code=0):
    done = volano(*arguments, "--store", "runs", cwd=folder)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def run_json(folder, *arguments, code=0):
    return json.loads(run(folder, *arguments, "--json", code=code).stdout)


def rows(artifact, name):
    return pq.read_table(artifact.folder / name).to_pylist()


def held_out_questions(findings):
    """The questions that were kept back, each with the answer that is wanted."""
    from volano.evaluate.half import held_out_cases

    cases = held_out_cases(rows(findings, "cases.parquet"), load_findings(findings.folder))
    return [
        Conversation(
            each["id"],
            (Message("user", each["prompt"]), Message("assistant", each["reference"])),
            "held out",
        )
        for each in cases
        if each["reference"] is not None
    ]


def other_version_2(folder, tmp_path, checkpoint):
    """The same store, in which version 2 came out as that checkpoint and is yet to be judged."""
    shutil.copytree(folder / "runs", tmp_path / "runs")
    made = Store(tmp_path / "runs")
    weights = "model.safetensors"
    shutil.copyfile(checkpoint.folder / weights, made[f"{NAME}/aligned-2"].folder / weights)
    for stage in ("report-2", "gate-2", "released-2"):
        for found in (tmp_path / "runs").glob(f"*/{NAME}/{stage}-*"):
            shutil.rmtree(found)
    return tmp_path
