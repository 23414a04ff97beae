import os
import pickle
import signal
import threading
import time

import pytest
from toy_steps import (
    LOG,
    always_fail,
    burn,
    die_always,
    die_once,
    fail_twice,
    raise_what_is_given,
    write_item,
)

from volano.core.bill import Meter
from volano.core.engine import LocalEngine, available_cores
from volano.core.errors import DataError, MissingExtra, RunFailed, StoreError
from volano.core.files import atomic_path

KINDS = ["thread", "process"]


class Tally:
    def __init__(self):
        self.done = self.before = 0

    def advance(self, amount=1):
        self.done += amount

    def resume(self, amount):
        self.before += amount

    def skip(self, amount): ...

    def note(self, text): ...


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setenv(LOG, str(tmp_path / "log"))
    path = tmp_path / "log"
    return lambda: path.read_text().split("\n")[:-1] if path.exists() else []


def outputs(folder, count):
    return [folder / f"{place}.txt" for place in range(count)]


def contents(paths):
    return [path.read_text() for path in paths if path.exists()]


def test_the_bill_counts_what_worker_processes_spend(tmp_path):
    meter = Meter(tmp_path / "sittings")
    LocalEngine(2).map(burn, [0.3, 0.3], outputs(tmp_path, 2), kind="process")
    meter.stop()
    assert meter.read()["processor_seconds"] >= 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_each_item_has_its_output_and_the_bar_counts_its_units(tmp_path, kind):
    paths = outputs(tmp_path / "new folder", 7)
    bar = Tally()
    LocalEngine(2).map(write_item, list("abcdefg"), paths, kind=kind, bar=bar, unit_of=ord)
    assert contents(paths) == list("abcdefg")
    assert bar.done == sum(map(ord, "abcdefg"))


def test_what_exists_is_not_made_again_but_counted(tmp_path, log):
    paths = outputs(tmp_path, 4)
    paths[2].write_text("old")
    bar = Tally()
    LocalEngine(2).map(write_item, range(4), paths, bar=bar)
    assert contents(paths) == ["0", "1", "old", "3"]
    assert sorted(log()) == ["0", "1", "3"]
    assert (bar.before, bar.done) == (1, 3)


def test_no_items_are_no_work(tmp_path):
    LocalEngine(2).map(write_item, [], [], kind="process")


@pytest.mark.parametrize("kind", KINDS)
def test_an_os_error_is_tried_twice_more(tmp_path, kind):
    paths = outputs(tmp_path, 3)
    LocalEngine(2).map(fail_twice, range(3), paths, kind=kind)
    assert contents(paths) == ["0", "1", "2"]
    assert paths[1].with_suffix(".tries").read_text() == "xxx"


def test_an_os_error_that_stays_ends_the_run_and_names_the_output(tmp_path, log):
    with pytest.raises(RunFailed) as failed:
        LocalEngine(2).map(always_fail, ["a"], outputs(tmp_path, 1))
    assert str(failed.value).startswith(f"{tmp_path}/0.txt: timed out.")
    assert log() == ["a"] * 3


def test_a_transient_error_inside_an_atomic_write_is_tried_again_too(tmp_path):
    tries = []

    def write(item, output):
        with atomic_path(output) as unfinished:
            unfinished.write_text("half")
            tries.append(item)
            if len(tries) < 3:
                raise OSError(5, "Input/output error")

    LocalEngine(1).map(write, ["a"], outputs(tmp_path, 1))
    assert len(tries) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["0.txt"]


def test_a_killed_worker_costs_nothing_but_time(tmp_path):
    paths = outputs(tmp_path, 5)
    bar = Tally()
    LocalEngine(2).map(die_once, range(5), paths, kind="process", bar=bar)
    assert contents(paths) == list("01234")
    assert bar.done == 5


def test_a_shard_that_kills_every_worker_is_named_and_the_others_are_not_blamed(tmp_path):
    paths = outputs(tmp_path, 4)
    with pytest.raises(RunFailed) as failed:
        LocalEngine(2).map(die_always, range(4), paths, kind="process")
    assert str(failed.value) == (
        f"{paths[1]}: a worker process died 3 times on this shard. "
        "It was most likely out of memory; try smaller shards."
    )
    assert failed.value.exit_code == 1
    assert paths[1].with_suffix(".deaths").read_text() == "xxx"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "error",
    [
        DataError("what", "where", "Remedy."),
        StoreError("what", "where", "Remedy."),
        MissingExtra("what", "where", "Remedy."),
        RunFailed("what", "where", "Remedy."),
        ValueError("ours"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_as_it_was_raised(tmp_path, kind, error):
    with pytest.raises(type(error)) as failed:
        LocalEngine(1).map(raise_what_is_given, [error], outputs(tmp_path, 1), kind=kind)
    assert str(failed.value) == str(error)
    assert vars(failed.value) == vars(error)
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)


def test_an_error_stops_the_map_once_the_items_under_way_have_ended(tmp_path):
    def work(item, output):
        if item == 0:
            raise ValueError("stop")
        time.sleep(0.05)
        output.write_text("whole")

    paths = outputs(tmp_path, 50)
    with pytest.raises(ValueError, match="stop"):
        LocalEngine(2).map(work, range(50), paths)
    before = contents(paths)
    time.sleep(0.1)
    assert contents(paths) == before  # nobody is still writing
    assert len(before) <= 3


def test_no_more_items_are_under_way_than_workers_and_one(tmp_path):
    workers, lock = 3, threading.Lock()
    submitted, ended, most, running, most_running = 0, 0, 0, 0, 0

    class Watched(list):
        def __getitem__(self, place):  # an item is taken when it is submitted
            nonlocal submitted, most
            with lock:
                submitted += 1
                most = max(most, submitted - ended)
            return super().__getitem__(place)

    def work(item, output):
        nonlocal ended, running, most_running
        with lock:
            running += 1
            most_running = max(most_running, running)
        time.sleep(0.002)
        with lock:
            running -= 1
            ended += 1
        output.write_text("")

    LocalEngine(workers).map(work, Watched(range(40)), outputs(tmp_path, 40))
    assert most_running == workers
    assert most <= workers + 1


def test_zero_workers_are_one_per_core_that_we_may_use():
    assert LocalEngine().width == available_cores() == len(os.sched_getaffinity(0))
    assert LocalEngine(3).width == 3


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def run_until_working(python, tmp_path, kind, function):
    code = f"""
import sys
from pathlib import Path
from toy_steps import *
from volano.core.engine import LocalEngine
if __name__ == "__main__":
    paths = [Path(sys.argv[1]) / str(place) for place in range(9)]
    LocalEngine(2).map({function}, range(9), paths, kind="{kind}")
"""
    log = tmp_path / "log"
    run = python(code, tmp_path / "out", **{LOG: str(log)})
    while not (log.exists() and log.read_text().count("\n") >= 2) and run.poll() is None:
        time.sleep(0.01)
    return run, log.read_text().split("\n")[:-1]


def wait_until_gone(pids):
    deadline = time.monotonic() + 10
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


def test_workers_end_with_a_parent_that_is_killed(tmp_path, python):
    run, pids = run_until_working(python, tmp_path, "process", "wait_for_ever")
    assert all(map(alive, pids))
    run.kill()
    run.wait()
    assert wait_until_gone(pids)


def test_ctrl_c_lets_threads_finish_their_item_and_leaves_nobody_behind(tmp_path, python):
    run, _ = run_until_working(python, tmp_path, "thread", "slow_item")
    os.killpg(run.pid, signal.SIGINT)
    started = time.monotonic()
    _, problem = run.communicate(timeout=20)
    assert time.monotonic() - started < 10
    assert run.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in problem
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert set(made) <= {str(place) for place in range(9)}
    assert 2 <= len(made) <= 4


def test_ctrl_c_leaves_no_worker_process(tmp_path, python):
    run, pids = run_until_working(python, tmp_path, "process", "slow_with_pid")
    os.killpg(run.pid, signal.SIGINT)
    run.communicate(timeout=20)
    assert run.returncode == -signal.SIGINT
    assert wait_until_gone(pids)
    assert len(list((tmp_path / "out").iterdir())) <= 4  # those under way, no more
