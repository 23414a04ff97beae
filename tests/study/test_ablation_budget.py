"""What is held equal between arms, and what is given up for a number of minutes."""

import json
from dataclasses import replace

import pytest
from toy_recipe import write_rivers

from volano.cli.main import run_command
from volano.core.errors import RecipeError
from volano.core.store import Store
from volano.study.ablation import plan_ablation
from volano.study.ablation_budget import _short, fit, fitted_before, given_up, keep_fitted
from volano.study.ablation_reckoned import ArmPlan, Reckoned
from volano.study.ablation_sample import Beside
from volano.study.axes import arms_of, with_equal_compute, with_tokens
from volano.study.spread import Spread
from volano.study.training_cost import flops_per_token, size_of

SECONDS = 60.0  # that a trial takes
STEPS = 1_000


def planned(seeds):
    tokens = STEPS * 32 * 128
    asked = ["curate.dedup.minhash=on,off", f"pretrain.tokens={tokens}", "pretrain.batch_rows=32"]
    arms = arms_of("tiny/python-docs", [*asked, f"ablate.seeds={seeds}", "ablate.signal=off"])
    assert arms[0].steps == STEPS
    return plan_ablation(arms)


def reckoned(ablation, reused=0, **about):
    left = (len(ablation.seeds) - reused) * SECONDS
    seeds = len(ablation.seeds)
    arms = [
        ArmPlan(each, 1, each.tokens, reused, left, SECONDS, {}, seeds) for each in ablation.arms
    ]
    trials = (SECONDS,) * ((len(ablation.seeds) - reused) * len(arms))
    return Reckoned(arms, {}, trials=trials, **about)


def test_what_fits_is_left_as_it_is():
    ablation = planned(5)
    assert fit(ablation, reckoned(ablation), 10) == ablation
    assert fit(ablation, reckoned(ablation, reused=4), 2) == ablation
    assert given_up(ablation, ablation) == []


def test_tokens_are_given_up_before_seeds():
    ablation = planned(5)
    fitted = fit(ablation, reckoned(ablation), 5)
    assert len(fitted.seeds) == 5
    assert [each.steps for each in fitted.arms] == [500, 500]
    assert given_up(ablation, fitted) == ["2,048,000 tokens in the place of 4,096,000"]
    assert [each.name for each in fitted.arms] == [each.name for each in ablation.arms]


@pytest.mark.parametrize(
    ("tokens", "said"),
    [(20_352, "20.4k"), (999_424, "999k"), (999_900, "1M"), (1_048_576, "1.05M"), (512, "512"),
     (2_000_000_000, "2B")],
)  # fmt: skip
def test_token_counts_are_written_as_somebody_would(tokens, said):
    assert _short(tokens) == said


def test_arms_of_one_size_keep_one_name_where_whole_steps_round_otherwise():
    settings = ["ablate.seeds=2", "ablate.signal=off", "pretrain.tokens=2M,4M"]
    ablation = plan_ablation(arms_of("tiny/python-docs", ["pretrain.batch_rows=16,40", *settings]))
    fitted = fit(ablation, reckoned(ablation), 4.4)
    counts = [each.tokens for each in fitted.arms]
    assert counts[0] != counts[2], "or the test shows nothing"
    assert [each.size for each in fitted.arms[:2]] == [each.size for each in fitted.arms[2:]]
    assert len({each.size for each in fitted.arms}) == 2


def test_what_is_spent_already_is_taken_of_the_minutes():
    ablation = planned(5)
    less = fit(ablation, reckoned(ablation), 6, spent=60)
    assert [each.tokens for each in less.arms] == [
        each.tokens for each in fit(ablation, reckoned(ablation), 5).arms
    ]
    assert less.arms[0].tokens < fit(ablation, reckoned(ablation), 6).arms[0].tokens


def test_each_size_says_what_it_gave_up_and_is_called_by_what_it_has():
    asked = ["curate.dedup.minhash=on,off", "pretrain.tokens=2M,4M", "pretrain.batch_rows=32"]
    settings = ["ablate.seeds=2", "ablate.signal=off"]
    ablation = plan_ablation(arms_of("tiny/python-docs", [*asked, *settings]))
    fitted = fit(ablation, reckoned(ablation), 4)  # of 8
    assert given_up(ablation, fitted) == [
        "999,424 tokens in the place of 1,998,848",
        "1,998,848 tokens in the place of 4,001,792",
    ]
    assert [each.size for each in fitted.arms] == ["999k tokens", "2M tokens"] * 2
    assert [each.name for each in fitted.arms] == [each.name for each in ablation.arms]
    alone = arms_of("tiny/python-docs", ["pretrain.tokens=2M,4M", *asked[2:], *settings])
    fitted = fit(plan_ablation(alone), reckoned(plan_ablation(alone)), 2)
    assert [each.name for each in fitted.arms] == ["tokens=999k", "tokens=2M"]


def test_then_seeds_and_never_below_two():
    ablation = planned(5)
    fitted = fit(ablation, reckoned(ablation), 0.7)  # 100 steps take 6 seconds
    assert [each.steps for each in fitted.arms] == [100, 100]
    assert len(fitted.seeds) == 3
    assert given_up(ablation, fitted)[1] == "3 seeds in the place of 5"
    with pytest.raises(RecipeError, match=r"2 seeds of 2 arms take 0\.4 minutes at least"):
        fit(ablation, reckoned(ablation), 0.3)


def test_what_lies_beside_training_takes_of_the_minutes_too():
    ablation = planned(5)
    beside = {"spread": Spread(2, 1), "beside": Beside(data=60, keeping=6, measuring=6)}
    fitted = fit(ablation, reckoned(ablation, **beside), 4)  # 1 of data, 3 of 5 × 2 trials
    assert [each.steps for each in fitted.arms] == [400, 400]  # 36 s each, of which 24 learn
    with pytest.raises(RecipeError, match=r"take 1\.6 minutes at least"):
        fit(ablation, reckoned(ablation, **beside), 1.5)


def test_equal_compute_gives_a_larger_model_fewer_tokens():
    arms = arms_of("tiny/python-docs", [
        "curate.dedup.minhash=on,off", "pretrain.model.parameters=0.2M,0.8M", "pretrain.tokens=4M",
    ])  # fmt: skip
    matched = with_equal_compute(arms)
    spent = [each.tokens * flops_per_token(size_of(each.shape)) for each in matched]
    assert max(spent) / min(spent) < 1.01
    assert matched[0].recipe == arms[0].recipe  # it is the same model, and may be there
    assert matched[1].tokens < arms[1].tokens / 2


def test_each_budget_of_tokens_is_matched_by_itself():
    arms = arms_of("tiny/python-docs", [
        "tokenizer.vocabulary=1024,2048", "pretrain.tokens=1M,4M", "ablate.match=compute",
    ])  # fmt: skip
    matched = plan_ablation(arms).arms
    assert [each.size for each in matched] == ["1M tokens", "4M tokens"] * 2
    spent = [each.tokens * flops_per_token(size_of(each.shape)) for each in matched]
    assert spent[2] == pytest.approx(spent[0], rel=0.01)
    assert spent[3] == pytest.approx(spent[1], rel=0.01)
    assert spent[1] == pytest.approx(4 * spent[0], rel=0.01)


def test_arms_of_other_seeds_are_the_same_arms():
    ablation = planned(3)
    assert [each.seed for each in ablation.trials()] == [1, 1, 2, 2, 3, 3]
    assert len(replace(ablation, seeds=(1,)).trials()) == 2


def test_what_was_begun_with_so_many_minutes_goes_on_as_it_was_fitted(tmp_path):
    ablation, store = planned(5), Store(tmp_path / "runs")
    assert fitted_before(ablation, 5, store) is None
    fitted = fit(ablation, reckoned(ablation), 5)
    keep_fitted(ablation, fitted, 5, store)
    again = fitted_before(planned(5), 5, Store(tmp_path / "runs"))
    assert [each.recipe for each in again.trials()] == [each.recipe for each in fitted.trials()]
    assert fitted_before(ablation, 6, store) is None
    assert fitted_before(planned(4), 5, store) is None


@pytest.mark.whole
def test_the_command_fits_once_and_goes_on_as_it_was_fitted(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    write_rivers(tmp_path, files=40, tokens="64k", ablate="{seeds: 2, signal: off}")
    monkeypatch.chdir(tmp_path)
    asked = ["ablate", "mine.yaml", "pretrain.learning_rate=0.01,0.02", "--minutes", "2", "--json"]
    timed = []

    def reckon(ablation, *about, **options):  # four minutes
        timed.append(ablation)
        return reckoned(ablation)

    monkeypatch.setattr("volano.study.ablation_plan.reckon", reckon)
    assert run_command(asked) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["given_up"] == ["32,000 tokens in the place of 64,000"]
    assert {each["tokens_read"] for each in first["models"]} == {32_000}
    assert Store("runs")["mine-ablation/verdicts"].report().extra["given_up"] == first["given_up"]
    assert run_command(asked) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["report"], len(timed)) == (first["report"], 1)


@pytest.mark.parametrize("written", ["", "{", "{}", "[]", '{"tokens": [1], "seeds": 2}'])
def test_a_damaged_fit_is_none(tmp_path, written):
    ablation, store = planned(5), Store(tmp_path / "runs")
    keep_fitted(ablation, ablation, 5, store)
    assert fitted_before(ablation, 5, store) is not None
    (kept,) = (store.folder / "fitted").iterdir()
    kept.write_text(written)
    assert fitted_before(ablation, 5, store) is None


def test_trials_that_are_there_take_none_of_the_minutes(monkeypatch):
    from volano.study import ablation_budget

    ablation = planned(5)
    arms = tuple(with_tokens(each, 100 * 32 * 128) for each in ablation.arms)
    ablation = replace(ablation, arms=arms)
    left = reckoned(ablation, reused=3)
    monkeypatch.setattr(
        ablation_budget,
        "scaled",
        lambda before, fewer, store: replace(before, trials=(SECONDS,) * 2 * len(fewer.seeds[3:])),
    )
    assert len(fit(ablation, left, 2, "a store").seeds) == 4
    with pytest.raises(RecipeError, match="2 seeds of 2 arms"):  # had nothing been there
        fit(ablation, left, 2)
