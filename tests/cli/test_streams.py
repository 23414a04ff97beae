"""Output that nobody reads does not end the work."""

import os
import subprocess
import sys

import pytest


def run(folder, *arguments, **streams):
    return subprocess.run(
        [sys.executable, "-m", "volano", *arguments], cwd=folder, text=True, **streams
    )


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "a.txt").write_text("Some text.")
    return tmp_path


@pytest.mark.parametrize("both", [False, True])  # `| head`, and `2>&1 | head`
def test_a_reader_that_goes_does_not_end_the_work(texts, both):
    reader, writer = os.pipe()
    os.close(reader)
    err = {"stderr": writer if both else subprocess.PIPE}
    ran = run(texts, "collect", "a.txt", "--out", "read", stdout=writer, **err)
    os.close(writer)
    assert ran.returncode == 1  # the output was not read; the work is done
    assert (texts / "read" / "manifest.json").is_file()
    assert "volano: " not in (ran.stderr or "")
    assert "Traceback" not in (ran.stderr or "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_output_that_has_no_room_is_told_after_the_work(texts):
    with open("/dev/full", "w") as full:
        ran = run(texts, "recipes", stdout=full, stderr=subprocess.PIPE)
    assert ran.returncode == 1
    assert ran.stderr == (
        "volano: stdout: disk full. The command is done, its output is not all there.\n"
    )


def test_a_closed_stdout_is_as_good_as_any(texts):
    command = f'"{sys.executable}" -m volano collect a.txt --out read >&-'
    assert subprocess.run(command, shell=True, cwd=texts, stderr=subprocess.PIPE).returncode == 0
    assert (texts / "read" / "manifest.json").is_file()
