import re
import time

import pytest

from volano.core import progress as module
from volano.core.progress import LogBar, progress
from volano.core.progress_line import fitted, sparkline


def test_a_log_gets_one_line_when_a_task_ends(capsys):
    with progress("curate", 10, "documents") as bar:
        for _ in range(10):
            bar.advance()
        bar.note("kept 7")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "curate: 10 documents in 0.0 s · kept 7\n"


def test_a_long_task_says_share_rate_and_time_left_every_half_minute(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with LogBar("train", 100, "steps") as bar:
        bar.resume(20)  # from before the kill
        for _ in range(8):
            now[0] += 10
            bar.advance(5)
    lines = capsys.readouterr().err.splitlines()
    # 20 steps in 40 s are 0.5 a second, however many an earlier attempt made.
    assert lines == [
        "train: goes on at 20%",
        "train: 40%, 0.5 steps/s, 120 s left",
        "train: 60%, 0.5 steps/s, 80 s left",
        "train: 40 steps in 80.0 s",
    ]


def test_a_failed_task_does_not_say_that_it_ended(capsys):
    with pytest.raises(ValueError, match="stop"), progress("x", 1, "y"):
        raise ValueError("stop")
    assert capsys.readouterr().err == ""


def test_silent_says_nothing(capsys):
    with progress("x", 1, "y", silent=True) as bar:
        bar.advance()
        bar.note("z")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_drawing_on_stderr(capsys, monkeypatch):
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True)
    with progress("curate", 4, "documents") as bar:
        bar.resume(2)
        bar.advance(2)
        bar.note("kept 7")
    out, err = capsys.readouterr()
    assert out == ""
    assert "curate" in err
    assert "curate: goes on at 50%" in err
    assert "100%" in err
    assert "kept 7" in err


def test_a_line_that_is_told_stays_and_a_curve_is_for_terminals(capsys, monkeypatch):
    with progress("train", 2, "steps") as bar:
        bar.curve(1.0)
        bar.tell("a spike [at] step 1")
    assert capsys.readouterr().err.splitlines()[0] == "train: a spike [at] step 1"
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True)
    with progress("train", 2, "steps") as bar:
        for loss in (8.0, float("nan"), 1.0):
            bar.curve(loss)
        bar.tell("a spike [at] step 1")
    drawn = capsys.readouterr().err
    assert "train: a spike [at] step 1" in drawn
    assert "█▁" in drawn


def test_a_sparkline_goes_from_the_least_to_the_greatest_mean():
    assert sparkline([]) == ""
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([7, 6, 5, 4, 3, 2, 1, 0]) == "█▇▆▅▄▃▂▁"
    assert sparkline([7, 7, 0, 0, 3, 4], cells=3) == "█▁▅"  # 3.5 of 7 is half-way: cell 4 of 0–7


NUMBERS = " 15% 12,345 tokens/s 00:12"
FIGURES = ("loss 3.123", "2.10 bits/byte", "15% of matmul")
CURVE = "█▇▆▅▄▃▂▁▁▁▁▁    "


@pytest.mark.parametrize(
    ("width", "bar", "curve", "figures"),
    [
        (140, 28, CURVE, 3),
        (120, 17, CURVE, 3),
        (100, 20, "", 3),
        (80, 16, "", 2),
        (79, 28, "", 1),  # it has what the second figure leaves
        (60, 13, "", 1),
        (50, 0, "", 1),
        (40, 0, "", 0),
    ],
)
def test_a_line_fits_the_terminal_and_drops_the_least_important_first(width, bar, curve, figures):
    line = fitted(width, "pretrain", NUMBERS, curve=curve or CURVE, figures=FIGURES)
    assert line.bar == bar
    behind = [NUMBERS, *filter(None, [curve]), *filter(None, [" · ".join(FIGURES[:figures])])]
    assert line.rest == " ".join(behind)
    assert len(line.title) + line.bar + len(line.rest) + (2 if bar else 1) <= width
    assert line.title.rstrip() == "pretrain"


def test_at_any_width_the_line_is_no_longer_than_it():
    for width in range(30, 160):
        line = fitted(width, "curate: boilerplate", NUMBERS, curve=CURVE, figures=FIGURES)
        assert len(line.title) + line.bar + len(line.rest) + (2 if line.bar else 1) <= width
        assert line.rest.startswith(NUMBERS)


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_a_drawing_is_one_line_that_keeps_rate_time_left_and_loss(capsys, monkeypatch, width):
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(module, "spoken", lambda rate: "123,456")
    monkeypatch.setenv("COLUMNS", str(width))
    with progress("pretrain", 1_000_000, "tokens") as bar:
        for step in range(20):
            bar.advance(50_000)
            bar.curve(9.0 - step / 10)
            bar.note(f"loss {11 - step / 10:.3f}", "2.10 bits/byte", "15% of matmul")
    escape = "\x1b"
    drawn = re.sub(rf"{escape}\[[?\d;]*[A-Za-z]", "", capsys.readouterr().err)
    lines = [each for each in re.split(r"[\r\n]", drawn) if each.strip()]
    assert all(len(each) <= width for each in lines)
    for kept in ("pretrain", "100%", "123,456 tokens/s", "00:00", "loss 9.100"):
        assert kept in lines[-1]
    for figure, least in (("2.10 bits/byte", 82), ("15% of matmul", 98), ("█", 115)):
        assert (figure in lines[-1]) == (width >= least)
