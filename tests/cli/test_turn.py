"""What a turn says at its end."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
pytest.importorskip("sqlalchemy")

from volano.cli.turn import print_turn
from volano.core.recipe import Section
from volano.core.step import Step
from volano.core.store import Store
from volano.evaluate.verdict import Verdict
from volano.study import turn
from volano.study.recipe import load_recipe


class Nothing(Section):
    pass


def write_model(section, inputs, context):
    (context.folder / "weights").write_text("")


TOY = Step("toy-model", "checkpoint", 1, Nothing, write_model)


def test_two_promotions_in_one_run_are_told_in_their_order(tmp_path, capsys, monkeypatch):
    store = Store(tmp_path / "store")
    made = store.make(store.order(TOY, Nothing(), {}, name="toy/model"), silent=True).artifact
    released = [SimpleNamespace(artifact=made)]
    monkeypatch.setattr(turn, "run_stages", lambda *_, **__: released)
    first = turn.first_version(load_recipe("tiny/python-docs"), store, silent=True)
    verdict = Verdict(promote=True, reason="better", better=True)
    print_turn(replace(first, version=2, verdict=verdict))
    assert capsys.readouterr().out.splitlines() == [
        "Promoted: version 1, as @production stood for nothing before.",
        "Promoted: version 2 is better; the release stands for it now.",
    ]
