"""A ladder: which runs it has, that it predicts before it trains, that nothing is made twice."""

import json
import shutil
from pydoc_data.topics import topics

import pyarrow.parquet as pq
import pytest

from volano.cli.main import run_command
from volano.cli.plan_ladder import print_ladder
from volano.core.errors import DataError, RecipeError
from volano.core.report import Measurement, Report
from volano.core.store import Store
from volano.model.shape import shape_of_depth
from volano.pretrain import run as pretrain_run
from volano.stats.scaling_law import Law
from volano.study import ladder_run, measured_rate
from volano.study.ladder import plan_ladder
from volano.study.ladder_run import check_minutes, climb, reckon
from volano.study.ladder_steps import read_trained
from volano.study.measured_rate import Measured
from volano.study.recipe import load_recipe
from volano.study.run import order_of, run
from volano.study.wheel import stages_of

BUDGETS = [512, 1024, 2048]


@pytest.fixture(autouse=True)
def rate(monkeypatch):
    """1,000 tokens a second; the widths that were measured."""
    asked = []

    def fixed(shape, section, *, row_tokens, workers=0):
        asked.append(shape.width)
        return Measured(1000.0, 1000.0, 6)

    monkeypatch.setattr(measured_rate, "measure_rate", fixed)
    return asked


OFF = ["workers=1", "finetune=off", "align=off", "evaluate=off"]


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    """Real prose, a tokenizer of bytes and little more, models of a second."""
    folder = tmp_path_factory.mktemp("recipe")
    pages = [{"id": name, "text": text[:3000]} for name, text in sorted(topics.items())]
    lines = "\n".join(json.dumps(page) for page in pages if len(page["text"]) > 500)
    (folder / "pages.jsonl").write_text(lines)
    (folder / "small.yaml").write_text(
        "name: small\n"
        f"collect: {{source: files, paths: [{folder / 'pages.jsonl'}], held_out_fraction: 0.2}}\n"
        "curate: {language: off, quality: off, dedup: off, pii: off}\n"
        "tokenizer: {vocabulary: 300}\n"
        "pretrain:\n"
        "  model: {depth: 4, context: 32}\n"
        "  tokens: 4096\n"
        "  batch_rows: 4\n"
        "  evaluate_documents: 5\n"
        "  milestones: []\n"
    )
    return str(folder / "small.yaml")


@pytest.fixture(scope="module")
def recipe(recipe_file):
    return load_recipe(recipe_file, OFF)


@pytest.fixture(scope="module")
def climbed(recipe, tmp_path_factory):
    """A ladder that was climbed, and what the store held when the prediction was told."""
    patch = pytest.MonkeyPatch()
    patch.setattr(measured_rate, "measure_rate", lambda *_, **__: Measured(1000.0, 1000.0, 6))
    store = Store(tmp_path_factory.mktemp("store") / "runs")
    ladder = plan_ladder(recipe, sizes=["d1", "d2", "d3"], tokens=BUDGETS)
    events = []

    def told(prediction):
        present = run(recipe, store, targets=ladder_run.SHARED, silent=True)
        order = ladder.order(ladder.next, store, {e.stage.name: e.artifact for e in present})
        events.append((prediction, store.existing(order), len(store.unfinished())))

    done = climb(ladder, store, reckon(ladder, store), silent=True, told=told)
    patch.undo()
    return ladder, store, done, events


def test_by_default_the_recipe_itself_is_predicted_from_smaller_and_shorter_runs():
    ladder = plan_ladder(load_recipe("laptop/python-docs"))
    assert [each.size for each in ladder.runs[::3]] == ["d1", "d2", "d3", "d4"]
    assert [each.section.tokens for each in ladder.runs[:3]] == [312_500, 625_000, 1_250_000]
    assert ladder.fewest_steps == 153
    assert ladder.next.section == ladder.recipe.pretrain
    assert ladder.next.seed == ladder.recipe.seed
    assert ladder.runs[0].tokens == round(312_500 / (16 * 128)) * 16 * 128
    seeds = {each.seed for each in (*ladder.runs, ladder.next)}
    assert len(seeds) == 13  # or the runs would have their luck in common
    assert all(each.section.learning_rate == 0.012 for each in ladder.runs)


def test_parameters_are_those_that_a_token_is_multiplied_with():
    ladder = plan_ladder(load_recipe("laptop/python-docs"))
    shape = shape_of_depth(3, 8192, 128)  # tied: what is looked up is the head too
    untied = ladder.runs[6]
    assert untied.shape.parameters == shape.parameters + 8192 * 64
    assert untied.parameters == shape.parameters


def test_a_rung_more_leaves_the_others_as_they_are(recipe):
    few = plan_ladder(recipe, sizes=["d1", "d2", "d3"], tokens=BUDGETS)
    more = plan_ladder(recipe, sizes=["d1", "d2", "d3", "60k"], tokens=[*BUDGETS, 700], seeds=2)
    assert all(each in more.runs for each in few.runs)
    assert len(more.runs) == 4 * 4 * 2
    assert len({each.label for each in more.runs}) == len({each.seed for each in more.runs}) == 32


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sizes": ["d1", "d2", "huge"]}, "--sizes: no size of a model: 'huge'"),
        ({"sizes": ["d1", "d2", "d0"]}, "no size of a model: 'd0'"),
        ({"sizes": ["d1", "d2", "1"]}, "--sizes 1: no decoder with a vocabulary of 300"),
        ({"sizes": ["d1", "d2", "d2"]}, "d2 and d2 are one shape, of 2 layers and width 32"),
        ({"next_size": "d3", "sizes": ["d1", "d2", "d3"]}, "--next: 0.179M is no larger than d3"),
        ({"next_size": "d2"}, "there are 1 depths below a model of"),
        ({"tokens": [512, 1024, 512]}, "--tokens: a number of tokens stands there twice"),
        ({"next_size": "2Q"}, "--next: no size of a model: '2Q'"),
    ],
)
def test_sizes_that_cannot_be_are_refused(recipe, changes, said):
    with pytest.raises(RecipeError) as refused:
        plan_ladder(recipe, **{"tokens": BUDGETS} | changes)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("sizes", "tokens", "said"),
    [
        (["d1", "d2"], BUDGETS, "6 runs of 2 sizes and 3 budgets"),
        (["d1", "d2", "d3"], BUDGETS[:2], "6 runs of 3 sizes and 2 budgets"),
        # Both are one step of 128 tokens.
        (["d1", "d2", "d3"], [100, 120, 512], "9 runs of 3 sizes and 2 budgets"),
    ],
)
def test_too_few_rungs_are_refused_before_anything_is_made(recipe, sizes, tokens, said):
    with pytest.raises(DataError, match=said):
        plan_ladder(recipe, sizes=sizes, tokens=tokens)


def test_recipes_without_a_held_out_loss_of_all_their_tokens_are_refused(recipe):
    with pytest.raises(RecipeError, match="this recipe trains none"):
        plan_ladder(recipe.model_copy(update={"pretrain": None}))
    unmeasured = recipe.pretrain.model_copy(update={"evaluate_documents": 0})
    with pytest.raises(RecipeError, match=r"pretrain\.evaluate_documents"):
        plan_ladder(recipe.model_copy(update={"pretrain": unmeasured}))
    best = recipe.pretrain.model_copy(update={"weights": "best"})
    with pytest.raises(RecipeError, match="those of fewer tokens"):
        plan_ladder(recipe.model_copy(update={"pretrain": best}))


@pytest.mark.parametrize("plan", [[], ["--plan"]])
def test_documents_of_which_none_is_held_out_are_refused_before_anything_is_made(
    recipe_file, tmp_path, capsys, plan
):
    asked = ["plan", recipe_file, *OFF, "collect.held_out_fraction=0", "--ladder", *plan]
    assert run_command([*asked, "--tokens", "512,1024", "--store", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    assert said == (
        "volano: collect.held_out_fraction: nothing is held out of these documents, so no run "
        "could be measured. Set 0.1.\n"
    )
    assert not (tmp_path / "runs").exists()


def test_a_split_that_no_document_is_of_is_refused_before_training(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain_run, "train", None)
    pages = tmp_path / "pages.jsonl"
    text = "Some words of English about the kettle, and more of them. " * 8
    pages.write_text(json.dumps({"text": text, "split": "train"}))
    changes = {"held_out_fraction": 0.0, "paths": [str(pages)]}
    bare = recipe.model_copy(update={"collect": recipe.collect.model_copy(update=changes)})
    ladder, store = plan_ladder(bare, tokens=BUDGETS), Store(tmp_path / "runs")
    with pytest.raises(DataError, match="nothing is held out"):
        climb(ladder, store, reckon(ladder, store), silent=True)


def test_minutes_are_reckoned_and_held(recipe, tmp_path, rate):
    ladder = plan_ladder(recipe, tokens=BUDGETS)
    reckoned = reckon(ladder, Store(tmp_path / "runs"))
    assert [each.seconds for each in reckoned[:3]] == [0.512, 1.024, 2.048]
    assert reckoned[-1].seconds == 4.096
    assert rate == [16, 32, 64, 128]  # each size once
    whole = sum(each.seconds for each in reckoned) / 60
    check_minutes(reckoned, whole * 1.01)
    with pytest.raises(RecipeError, match=r"Set pretrain\.tokens to 0\.002M or less"):
        check_minutes(reckoned, whole / 2)


def test_the_prediction_is_written_before_the_next_is_begun(climbed):
    ladder, _, done, events = climbed
    [(prediction, existing, unfinished)] = events
    assert existing is None
    assert unfinished == 0
    assert prediction.folder == done.prediction.folder
    assert done.came_first
    read = {each["name"] for each in prediction.parents.values()}
    assert read == {f"small-ladder/{each.label}" for each in ladder.runs}
    assert done.next.digest not in {each["digest"] for each in prediction.parents.values()}
    assert done.outcome.parents["prediction"]["digest"] == prediction.digest
    assert done.outcome.parents["next"]["digest"] == done.next.digest


def test_the_report_has_law_prediction_baselines_and_measurement(climbed):
    ladder, _, done, _ = climbed
    report = done.report
    law = Law(**{name: report.find(name, "law").value for name in ("e", "a", "alpha", "b", "beta")})
    predicted = report.find("predicted", "next")
    assert predicted.value == pytest.approx(law.loss(ladder.next.parameters, ladder.next.tokens))
    assert predicted.low <= predicted.value <= predicted.high
    assert report.find("measured", "next").value == read_trained(done.next).run.loss
    runs = report.extra["ladder"]["runs"]
    assert [(each["parameters"], each["tokens"]) for each in runs] == [
        (each.parameters, each.tokens) for each in ladder.runs
    ]
    assert report.find("largest_run", "next").value == runs[-1]["loss"]
    assert report.find("measured", "next").value < runs[0]["loss"]  # it has learnt
    interaction = report.find("interaction", "law")
    assert interaction.low < interaction.value < interaction.high


def test_a_second_climb_trains_nothing(climbed, monkeypatch):
    ladder, store, done, _ = climbed
    monkeypatch.setattr(pretrain_run, "train", None)
    reckoned = reckon(ladder, store)
    assert all(each.reuse for each in reckoned)
    again = climb(ladder, store, reckoned, silent=True)
    assert again.reused == len(ladder.runs) + 1
    assert again.outcome.folder == done.outcome.folder
    assert again.came_first


def test_the_next_is_the_base_model_that_a_run_of_the_recipe_makes(climbed, recipe):
    _, store, done, _ = climbed
    shared = run(recipe, store, targets=ladder_run.SHARED, silent=True)
    present = {each.stage.name: each.artifact for each in shared}
    base = next(each for each in stages_of(recipe) if each.name == "base")
    assert store.existing(order_of(base, recipe, store, present)).folder == done.next.folder


def test_a_prediction_of_what_is_there_already_is_told_as_such(climbed, recipe):
    _, store, first, _ = climbed
    more = plan_ladder(recipe, sizes=["d1", "d2", "d3"], tokens=[*BUDGETS, 256])
    done = climb(more, store, reckon(more, store), silent=True)
    assert done.next.folder == first.next.folder
    assert done.prediction.folder != first.prediction.folder
    assert not done.came_first


def test_a_checkpoint_that_was_not_measured_is_refused(climbed, tmp_path):
    _, _, done, _ = climbed
    copy = tmp_path / "copy"
    shutil.copytree(done.next.folder, copy)
    metrics = pq.read_table(copy / "metrics.parquet").drop_columns("held_out_bits_per_byte")
    pq.write_table(metrics, copy / "metrics.parquet")
    bare = type(done.next)(copy, done.next.meta)
    with pytest.raises(DataError, match="no held_out_bits_per_byte"):
        read_trained(bare)


@pytest.fixture
def command(climbed, recipe_file):
    """The ladder that was climbed, as it is typed."""
    sizes = ["--sizes", "d1,d2,d3", "--tokens", "512,1024,2048"]
    return ["plan", recipe_file, *OFF, "--ladder", *sizes, "--store", str(climbed[1].folder)]


def test_the_table_ends_with_prediction_measurement_and_the_order_of_events(
    command, climbed, capsys
):
    report = climbed[2].report
    predicted, measured = (report.find(name, "next") for name in ("predicted", "measured"))
    assert run_command(command) == 0
    said = capsys.readouterr().out
    inside = predicted.low <= measured.value <= predicted.high
    assert "a ladder of 9 runs" in said
    assert "all are in the store" in said
    assert "straight line through two runs" in said
    assert (
        f"measured {measured.value:.3f}, inside the interval: {'yes' if inside else 'no'}" in said
    )
    assert "when nothing of" in said
    assert run_command(["show", "small-ladder/outcome", *command[-2:]]) == 0
    assert f"measured {measured.value:.3f}" in capsys.readouterr().out
    assert run_command(["show", "small-ladder/predicted", *command[-2:]]) == 0
    assert "measured" not in capsys.readouterr().out  # it knows nothing of it


@pytest.mark.parametrize(
    ("low", "value", "high", "said"),
    [(-0.3, -0.2, -0.1, "gain more"), (0.1, 0.2, 0.3, "gain less"), (-0.1, 0.1, 0.3, None)],
)
def test_a_misfit_with_a_pattern_is_told(low, value, high, said, climbed, capsys):
    report = climbed[2].report
    twist = Measurement("interaction", "law", value, low, high, 9)
    others = [each for each in report.measurements if each.name != "interaction"]
    print_ladder(Report((*others, twist), extra=report.extra), "small-ladder")
    shown = capsys.readouterr().out
    assert ("The misfit has a pattern" in shown) == (said is not None)
    assert ("the law with interaction: predicted" in shown) == (said is not None)
    assert said is None or said in shown


def test_json_has_runs_law_prediction_and_order(command, climbed, capsys):
    assert run_command([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["prediction_came_first"] is True
    assert found["reused"] == len(found["runs"]) + 1 == 10
    assert 0 < found["most_epochs"] < 1
    assert {"predicted", "measured", "line_through_two", "with_interaction"} <= {
        each["name"] for each in found["measurements"]
    }


def test_text_that_is_read_again_is_told(command, capsys, monkeypatch):
    monkeypatch.setattr(ladder_run, "_epochs", lambda checkpoint: 2.5)
    assert run_command(command) == 0
    assert "Some text is read 2.5 times" in capsys.readouterr().out


def test_a_plan_says_what_would_be_trained_and_makes_nothing(
    recipe_file, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(pretrain_run, "train", None)
    asked = ["plan", "ladder", recipe_file, *OFF, "--tokens", "512,1024,2048", "--plan"]
    store = ["--store", str(tmp_path / "runs")]
    assert run_command([*asked, *store]) == 0
    shown = capsys.readouterr()
    assert shown.err.splitlines()[0] == "d1: training for some steps, to measure the rate …"
    assert len(shown.err.splitlines()) == 4  # sizes
    said = shown.out
    assert "4 × 128" in said
    assert "The shortest run has 4 steps" in said
    assert "All training: 15 s" in said  # 3 × 3.584 + 4.096 thousands of tokens
    assert run_command([*asked, *store, "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [each["next"] for each in runs] == [False] * 9 + [True]
    assert run_command([*asked, *store, "--minutes", "0.2"]) == 2
    assert "--minutes 0.2: training takes about 0.247 minutes" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tokens", "some,1k,2k"], "--tokens: no count: 'some'"),
        (["--sizes", "d1,d2,d3", "--next", "d3"], "is no larger than d3 of the ladder"),
        (["--sizes", "d1,d2"], "cannot tell the five numbers"),
    ],
)
def test_what_makes_no_ladder_is_refused_in_one_line(options, said, recipe_file, capsys):
    assert run_command(["plan", "ladder", recipe_file, *OFF, *options]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_ctrl_c_tells_that_the_ladder_goes_on(recipe_file, monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ladder_run, "reckon", stopped)
    assert run_command(["plan", recipe_file, *OFF, "--ladder", "--tokens", "512,1k,2k"]) == 130
    assert "it goes on where it stopped" in capsys.readouterr().err
