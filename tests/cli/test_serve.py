import os
import subprocess
import sys

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("sqlalchemy")


@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [
        ("import", None, "3000"),  # kind to a second training on the same cores
        ("serve", None, "10000"),  # a step of an answer is short, and so is what lies between two
        ("import", "70", "70"),
        ("serve", "70", "70"),
    ],
)
def test_idle_threads_spin_longer_where_a_model_is_served_and_as_a_user_says(verb, before, after):
    asked = "run_command(['serve', 'absent', '--port', '0'])" if verb == "serve" else ""
    program = (
        f"import os; from volano.cli.main import run_command; {asked or None};"
        "print(os.environ['GOMP_SPINCOUNT'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    if before is not None:
        environment["GOMP_SPINCOUNT"] = before
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split()[-1:] == [after]
