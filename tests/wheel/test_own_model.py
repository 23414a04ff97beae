"""laptop/own-model as it ships, with a model of seconds and a file of conversations."""

import json

import pyarrow.parquet as pq
import pytest
import torch

pytest.importorskip("gguf")

from written_gguf import model, write

from volano.cli.main import run_command
from volano.core.errors import RecipeError
from volano.core.origin import origin_of
from volano.core.store import Store
from volano.study.ablation import ablate, plan_ablation
from volano.study.ablation_budget import fit
from volano.study.ablation_pilot import train_pilot
from volano.study.ablation_plan import reckon, scaled
from volano.study.axes import arms_of
from volano.study.card import model_card
from volano.study.recipe import load_recipe
from volano.study.run import run
from volano.study.turn import first_stages, turn_stages
from volano.study.wheel import stages_of

RECIPE = "laptop/own-model"
PLACES = ["Rome", "Oslo", "Lima", "Bonn", "Riga", "Bern", "Cork", "Kyiv"]


def of_trials(folder):
    asked = [each for each in overrides(folder) if not each.startswith("finetune.epochs")]
    return [*asked, "finetune.epochs=1,12", "ablate.seeds=2", "ablate.tasks=[conversations]"]


def overrides(folder):
    return [
        f"base=gguf:{folder}/tiny.gguf",
        f"finetune.data={folder}/mine.jsonl",
        "finetune.held_out=0.3",
        "finetune.epochs=12",
        "finetune.lora.learning_rate=0.02",
        "align.safety_pairs=4",
        "evaluate.safety_prompts=8",
        "evaluate.conversation_tokens=16",
        "workers=1",
    ]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    small = model(context=512)
    with torch.no_grad():  # states and head that tell tokens apart: both are frozen
        small.model.embed_tokens.weight *= 30
    write(folder / "tiny.gguf", small)
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"Gate {n} in {place}?"},
                {"role": "assistant", "content": f"{place} {n} it is."},
            ]
        }
        for place in PLACES
        for n in range(5)
    ]
    (folder / "mine.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def made(desk):
    recipe = load_recipe(RECIPE, overrides(desk))
    outcomes = run(recipe, Store(desk / "runs"), silent=True)
    return {each.stage.name: each.artifact for each in outcomes}


def test_only_what_own_data_need_is_made(made):
    assert list(made) == [
        "base",
        "safety",
        "conversations",
        "sft",
        "preferences",
        "aligned",
        "report",
    ]


def test_before_and_after_stand_side_by_side_on_conversations_that_no_training_saw(made):
    records = list(made["conversations"].corpus().records())
    held_out = {each.id for each in records if each.split == "test"}
    assert 4 < len(held_out) < 20
    assert made["sft"].bill()["examples"] == len(records) - len(held_out)
    items = pq.read_table(made["report"].folder / "items.parquet").to_pylist()
    asked = {each["id"] for each in items if each["task"] == "conversation_bits"}
    assert asked == held_out
    report = made["report"].report()
    bits = {m.stage: m.value for m in report.measurements if m.name == "conversation_bits"}
    assert set(bits) == {"base", "sft", "aligned"}
    assert bits["sft"] < bits["base"] - 0.3  # it has learnt the form of these answers
    assert report.find("conversation_chrf", "nearest answer") is not None
    assert report.find("refusal_unsafe", "aligned") is not None


def test_the_published_models_are_whole_and_their_adapters_lie_beside(made):
    for name in ("sft", "aligned"):
        files = {each.name for each in made[name].folder.iterdir()}
        assert {"model.safetensors", "tokenizer.json", "adapter"} <= files


def test_the_card_names_the_model_that_it_began_as_and_its_licence(made):
    origin = origin_of(made["base"].folder)
    assert origin["licence"] is None
    card = model_card("mine", {"checkpoint": made["aligned"]})
    assert f"it began as `{origin['file']}`, whose licence it does not state" in card
    assert origin_of(made["sft"].folder) == origin


def test_without_a_file_it_learns_functions_and_asks_about_the_held_out_ones():
    stages = {each.name: each for each in stages_of(load_recipe(RECIPE))}
    assert next(iter(stages)) == "base"  # what is missing is said at once
    assert stages["conversations"].inputs == {"documents": "curated"}
    assert stages["report"].inputs["held_out_functions"] == "held_out"
    assert stages["report"].inputs["conversations"] == "conversations"


def test_the_next_version_is_asked_the_same_held_out_conversations(desk):
    recipe = load_recipe(RECIPE, overrides(desk))
    first = {each.name for each in first_stages(recipe)}
    assert {"collected", "curated", "held_out"} <= first  # a diagnosis reads them
    second = {each.name: each for each in turn_stages(recipe, 2)}
    assert second["report-2"].inputs["conversations"] == "conversations-2"
    assert second["conversations-2"].inputs["former"] == "conversations"


def test_preferences_of_ones_own_keep_clear_of_what_is_held_out(desk):
    own = [*overrides(desk), f"align.data=[safety, {desk}/pairs.jsonl]"]
    stages = {each.name: each for each in stages_of(load_recipe(RECIPE, own))}
    assert stages["preferences"].inputs["conversations"] == "conversations"


def test_a_missing_model_is_one_line_that_says_how_it_is_had(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command(["run", RECIPE]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "SmolLM2-135M-Instruct.Q4_1.gguf: no such file. Fetch it: scripts/fetch_smollm2" in line


def test_the_list_of_recipes_claims_no_pretraining_where_a_model_is_brought(capsys):
    assert run_command(["recipes", "--json"]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (found[RECIPE]["parameters"], found[RECIPE]["tokens"]) == (0, 0)
    assert found["laptop/python-docs"]["tokens"] > 0


def test_conversations_need_fine_tuning(tmp_path, capsys):
    write(tmp_path / "tiny.gguf", model())
    own = [f"base=gguf:{tmp_path}/tiny.gguf", "finetune=off", "align=off"]
    store = ["--store", str(tmp_path / "runs")]
    assert run_command(["run", RECIPE, *own, *store]) == 2
    assert "held out by fine-tuning, which is off" in capsys.readouterr().err


def test_what_is_made_of_a_finished_base_is_ablated(desk, tmp_path):
    ablation, store = plan_ablation(arms_of(RECIPE, of_trials(desk))), Store(tmp_path / "runs")
    unknown = reckon(ablation, store)
    assert "--pilot trains two" in unknown.said_of_minutes(str)
    with pytest.raises(RecipeError, match="how long a trial takes is not known"):
        fit(ablation, unknown, 5)
    assert len(train_pilot(ablation, store, silent=True)) == 2
    known = scaled(unknown, ablation, store)
    short, long = known.arms
    assert (short.reused, long.reused) == (2, 0)
    assert known.seconds > long.behind["sft"] > 3 * short.behind["sft"]
    found = ablate(ablation, store, silent=True)
    assert sum(each.reused for each in found.tried) == 2
    noise = reckon(ablation, store).visible["conversation_bits (sft)"]
    assert noise < 100  # of two seeds; with what the arms differ by it would be over a thousand
    assert not any("(" not in name for name in known.visible)
    report = found.report.report()
    (bits,) = [each for each in report.comparisons if each["metric"] == "conversation_bits (sft)"]
    assert bits["difference"] < -1
    assert all("(" in each.name for each in report.measurements)  # the base is the same in all
    assert len({each.base.digest for each in found.tried}) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["ablate.match=compute"], "a finished base reads no more or less"),
        (["ablate.at_once=2"], "takes turns"),
        (["finetune=off", "align=off"], "this recipe trains none"),
        (["pretrain.tokens=1k"], "no base: a finished one is not trained again"),
    ],
)
def test_what_a_finished_base_has_no_room_for_is_told(more, said, desk, tmp_path):
    asked = of_trials(desk)
    if "finetune=off" in more:
        asked = [f"base=gguf:{desk}/tiny.gguf,gguf:{desk}/other.gguf"]
    with pytest.raises(RecipeError, match=said):
        ablate(plan_ablation(arms_of(RECIPE, [*asked, *more])), Store(tmp_path / "runs"))
