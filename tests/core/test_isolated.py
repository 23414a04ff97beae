"""Calls that crash, hang, raise or want too much memory cost their child, never the caller."""

import os
import signal
import time

import pytest

from volano.core.isolated import Isolated, Lost


def do(what: str) -> int:
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "hang":
        time.sleep(60)
    if what == "raise":
        raise ValueError("no such\nthing")
    if what == "eat":
        return len(bytearray(1 << 40))
    return os.getpid()


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("crash", "the process that read it died (SIGSEGV)"),
        ("hang", "took longer than 2 seconds"),
        ("raise", "no such"),
        ("eat", "MemoryError()"),
    ],
)
def test_a_lost_call_says_why_and_the_next_one_works(what, reason):
    with Isolated(timeout_seconds=2) as isolated:
        first = isolated.call(do, "work")
        with pytest.raises(Lost) as lost:
            isolated.call(do, what)
        assert str(lost.value) == reason
        again = isolated.call(do, "work")
        assert os.getpid() not in {first, again}
        assert (first == again) is (what in {"raise", "eat"})
    with pytest.raises(ProcessLookupError):
        os.kill(again, 0)
