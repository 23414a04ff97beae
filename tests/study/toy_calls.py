"""What the workers of test_trial_workers.py are asked to do; no torch, so that it is quick.

Run as a script it is a command with two workers at work: `python toy_calls.py FOLDER`.
"""

import os
import signal
import sys
import time
from pathlib import Path

from volano.core.errors import DataError
from volano.core.progress import progress
from volano.study.trial_workers import Call, Workers
from volano.train.interruption import caught_signals, stopped

SECONDS = 30.0  # after which a test that has gone wrong ends by itself


def answer(number):
    return number, os.environ["OMP_NUM_THREADS"], os.environ["RAYON_NUM_THREADS"]


def meet(folder, own, other):
    """Ends once the other call is there too: the two run at the same time."""
    (folder / own).touch()
    return wait_for(folder / other)


def wait_for(path):
    deadline = time.monotonic() + SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} has not come"
        time.sleep(0.01)
    return os.getpid()


def in_order(folder, own):
    """Raises where another of these calls is at work."""
    (folder / "at work").mkdir()
    time.sleep(0.1)
    (folder / "at work").rmdir()
    return own


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def refuse():
    raise DataError("nothing was kept", "curate", "Lower min_words.")


def fail():
    raise ZeroDivisionError("a bug of ours")


def work_aloud():
    with progress("pretrain", 10, "tokens", silent=True) as bar:
        bar.tell("reads its text 9.0 times")
        bar.resume(4)
        bar.advance(6)
    print("a warning", file=sys.stderr)


def train_until_stopped(folder, own):
    """Keeps its state when it is stopped, as the loop of a training does."""
    with caught_signals() as caught:
        (folder / own).write_text(str(os.getpid()))
        deadline = time.monotonic() + SECONDS
        while not caught and time.monotonic() < deadline:
            time.sleep(0.01)
        (folder / f"{own}.kept").touch()
        raise stopped(caught[0], "after step 8")


if __name__ == "__main__":
    import toy_calls  # workers know the file by that name; the script itself is hidden from them

    with Workers(2, 1) as workers:
        calls = [
            Call(toy_calls.train_until_stopped, (Path(sys.argv[1]), own), own)
            for own in ("one", "two")
        ]
        list(workers.do(calls))
