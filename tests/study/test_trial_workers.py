"""Worker processes: what they are given, how they are heard, and how they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy_calls
from toy_calls import answer, die, fail, in_order, meet, refuse, wait_for, work_aloud

from volano.core.errors import DataError
from volano.study.trial_workers import Call, Workers


def ended(calls, count=2, **options):
    with Workers(count, 3) as workers:
        return sorted(workers.do(calls, **options))


def alive(process_id):
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_every_call_has_its_result_and_the_threads_that_workers_have():
    before = dict(os.environ)
    found = ended([Call(answer, (number,), "call") for number in range(5)])
    assert [each.result for each in found] == [(number, "3", "3") for number in range(5)]
    assert dict(os.environ) == before


def test_two_calls_run_at_the_same_time_in_two_processes(tmp_path):
    calls = [Call(meet, (tmp_path, a, b), a) for a, b in [("one", "two"), ("two", "one")]]
    processes = {each.result for each in ended(calls)}
    assert len(processes | {os.getpid()}) == 3
    assert not any(map(alive, processes))


def test_calls_that_want_the_same_artifact_wait_for_each_other(tmp_path):
    calls = [Call(in_order, (tmp_path, own), "call", alone="base") for own in range(3)]
    assert [each.result for each in ended(calls)] == [0, 1, 2]


def test_a_worker_that_dies_fails_its_call_alone_and_is_replaced():
    calls = [Call(answer, (0,), "a"), Call(die, (), "b, seed 2"), Call(answer, (2,), "c")]
    one, two, three = ended(calls, count=1)
    assert (one.result[0], three.result[0]) == (0, 2)
    assert str(two.problem) == (
        "b, seed 2: the process that trained it died (SIGKILL). It was most likely out of memory: "
        "set ablate.at_once=1, or take a smaller model."
    )


def test_an_error_of_ours_comes_back_whole_and_a_bug_ends_all():
    (refused,) = ended([Call(refuse, (), "call")])
    assert isinstance(refused.problem, DataError)
    assert str(refused.problem) == "curate: nothing was kept. Lower min_words."
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a bug of ours"):
        ended([Call(fail, (), "call")])


def test_bars_and_lines_of_a_call_are_heard_with_its_place():
    heard = []
    ended([Call(work_aloud, (), "call")], heard=lambda *said: heard.append(said))
    assert heard == [
        (0, "open", ("pretrain", 10, "tokens")),
        (0, "tell", ("reads its text 9.0 times",)),
        (0, "resume", (4,)),
        (0, "line", ("a warning",)),
        (0, "advance", (6,)),  # held back until there is more, or an end
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("group", [False, True])  # Ctrl-C of a terminal goes to all
def test_a_signal_lets_every_worker_keep_its_state_and_leaves_no_process(tmp_path, number, group):
    if (number, group) == (signal.SIGKILL, True):
        pytest.skip("nobody is left who could keep anything")
    process = subprocess.Popen(
        [sys.executable, toy_calls.__file__, str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for own in ("one", "two"):
        wait_for(tmp_path / own)
    time.sleep(0.1)  # what it writes there is short
    workers = [int((tmp_path / own).read_text()) for own in ("one", "two")]
    (os.killpg if group else os.kill)(process.pid, number)
    said = process.communicate(timeout=30)[1]
    for own in ("one", "two"):
        wait_for(tmp_path / f"{own}.kept")
    deadline = time.monotonic() + 30
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(alive, workers))
    if number == signal.SIGTERM:
        assert "stopped by SIGTERM and every trial that was running has kept its state" in said
    assert said.count("Traceback") == (number != signal.SIGKILL)  # the script's own
