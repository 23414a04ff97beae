import os
import subprocess
import sys

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("sqlalchemy")

from volano.cli.main import run_command


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


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
@pytest.mark.parametrize(
    ("options", "listed", "where"),
    [
        (["--key", ""], None, "--key"),
        (["--key", " "], None, "--key"),
        (["--key", "secret", "--key", ""], None, "--key"),
        ([], "secret,\t", "$VOLANO_KEYS"),
    ],
)
def test_a_key_that_is_empty_or_blank_is_refused(
    capsys, monkeypatch, tmp_path, host, options, listed, where
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VOLANO_KEYS", listed or "")
    monkeypatch.setenv("GOMP_SPINCOUNT", "70")  # or the verb would set it for this process
    # No such checkpoint: were the key let through, nothing would be served all the same.
    assert run_command(["serve", "absent", "--port", "0", "--host", host, *options]) == 2
    said = f"volano: {where}: a key is empty or blank. Give one that nobody guesses.\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("listed", ["", ",", "secret,"])
def test_what_is_empty_between_the_commas_of_the_variable_is_no_key(
    capsys, monkeypatch, tmp_path, listed
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VOLANO_KEYS", listed)
    monkeypatch.setenv("GOMP_SPINCOUNT", "70")
    assert run_command(["serve", "absent", "--port", "0", "--host", "0.0.0.0"]) == 2
    expected = "absent" if "secret" in listed else "--host 0.0.0.0: open to others"
    assert expected in capsys.readouterr().err


def test_a_context_that_is_cut_is_said_at_the_start_with_how_to_have_it_whole(capsys):
    from types import SimpleNamespace

    from volano.cli.serve import _announce_cut

    def served(name, context, whole):
        model = SimpleNamespace(config=SimpleNamespace(context=whole))
        return SimpleNamespace(name=name, context=context, engine=SimpleNamespace(model=model))

    _announce_cut([served("whole", 128, 128), served("smol", 2048, 8192)])
    assert capsys.readouterr().out.replace("\n", " ") == (
        "smol answers within 2,048 of the 8,192 tokens that it reads, to save memory: "
        "--context 8192 for all. "
    )
