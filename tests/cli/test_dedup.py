"""`volano dedup curve`, as a user types it."""

import json

from volano.cli.main import run_command


def test_curve_is_printed_with_suggestions(capsys):
    assert run_command(["dedup", "curve", "--similarity", "0.7"]) == 0
    said = capsys.readouterr().out
    assert "112 permutations, 14 bands of 8: half of the pairs of similarity 0.68" in said
    assert "0.70   56.5 %" in said  # 1 - (1 - 0.7^8)^14 = 0.565
    assert "-s dedup.minhash.permutations=112 -s dedup.minhash.bands=14" in said


def test_the_same_as_json(capsys):
    assert run_command(["dedup", "curve", "--bands", "28", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["banding"]["bands"], found["banding"]["rows"]) == (28, 4)
    assert found["curve"][10] == [0.5, 1 - (1 - 0.5**4) ** 28]


def test_bands_that_do_not_divide_are_refused_with_those_that_do(capsys):
    assert run_command(["dedup", "curve", "--permutations", "10", "--bands", "4"]) == 2
    assert "4 bands do not divide 10 permutations. Take one of 1, 2, 5, 10." in (
        capsys.readouterr().err
    )
