"""Ctrl-C while the command line is still being imported."""

import os
import subprocess
import sys

import pytest

CTRL_C = 'exec("import os, signal; os.kill(os.getpid(), signal.SIGINT)")'


@pytest.mark.parametrize("imported", ["typer", "pydantic"])  # by the door; by the verb
def test_ctrl_c_amid_imports_exits_130_and_shows_no_traceback(tmp_path, imported):
    (tmp_path / f"{imported}.py").write_text(CTRL_C)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    ran = subprocess.run(
        [sys.executable, "-m", "volano", "run", "tiny/python-docs", "--plan"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (130, "")
    assert ran.stderr.startswith("volano: stopped.")
    assert len(ran.stderr.splitlines()) == 1
