"""Volano as a user starts it, and the tiny recipe made smaller still."""

import subprocess
from pathlib import Path

from warm_command import environment

# A model of a tenth of the tiny recipe: these tests are about data and records, not about skill.
SMALLER = [
    "collect.held_out_functions=150",
    "pretrain.tokens=30k",
    "finetune.epochs=0.1",
    "align.function_pairs=20",
    "evaluate.choice_items=40",
    "evaluate.bits_documents=20",
    "evaluate.answers=12",
    "evaluate.seeds=1",
    "evaluate.safety_prompts=24",
    "users=off",  # two_turns.py has a second turn
    "turn=off",
]


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
