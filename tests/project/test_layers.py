"""The house holds by itself: import-linter's contracts, and what is imported when."""

import subprocess
import sys

import pytest


def test_every_room_imports_only_from_below(root):
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    "statement",
    [
        "import volano",
        "from volano.cli.main import run_command; run_command(['--help'])",
        "from volano.cli.main import run_command; run_command(['recipes'])",
        "from volano.cli.main import run_command; run_command('plan training --model gpt-3 "
        "--tokens 1B --device A100 --devices 1024'.split())",
    ],
)
def test_no_torch_and_no_matplotlib_is_imported_by_a_door(root, statement):
    script = (
        f"import sys\n{statement}\nsys.exit(bool({{'torch', 'matplotlib'}} & {{*sys.modules}}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:] or "one of them was imported"


def test_a_plan_of_a_recipe_imports_nothing_that_it_does_not_need(root, tmp_path):
    pytest.importorskip("fastapi", reason="a recipe with a turn needs the extra serve")
    script = (
        "import sys\nfrom volano.cli.main import run_command\n"
        f"run_command('run tiny/python-docs --plan --store {tmp_path / 'runs'}'.split())\n"
        "heavy = {'torch', 'scipy.stats', 'sklearn', 'matplotlib', 'volano.text.kernels.quality'}\n"
        "sys.exit(bool(heavy & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:] or "one of them was imported"
    assert "released" in done.stdout


def test_only_the_rooms_that_have_torch_take_the_torch_side_of_safetensors(root):
    takers = {
        path.relative_to(root / "src/volano").parts[0]
        for path in (root / "src/volano").rglob("*.py")
        if "safetensors.torch" in path.read_text("utf-8")
    }
    assert takers <= {"model", "train", "pretrain", "finetune", "align"}
