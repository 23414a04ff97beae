"""Volano as a user starts it."""

import subprocess
from pathlib import Path

from warm_command import environment


def volano(*arguments: str, cwd: Path, timeout_seconds: float = 300) -> subprocess.CompletedProcess:
    """The command line in a process of its own, warm."""
    return subprocess.run(
        ["volano", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        env=environment(HF_HUB_OFFLINE="1", COLUMNS="200"),
    )
