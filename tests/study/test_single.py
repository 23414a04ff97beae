"""What a single phase takes for a checkpoint, and what it says of one."""

import json
import shutil

import pytest

from volano.core.errors import RecipeError, StoreError
from volano.core.store import Store
from volano.model.decoder import Decoder, initialise
from volano.model.huggingface import save_checkpoint
from volano.model.shape import shape_for
from volano.study.recipe import read_recipe
from volano.study.single import imported, run_phase
from volano.text.tokenizer import train_tokenizer


@pytest.fixture
def folder(tmp_path):
    """A plain checkpoint with the tokenizer that it was made with."""
    tokenizer = train_tokenizer(["abc abc"] * 9, vocabulary=262)
    model = Decoder(shape_for(20_000, tokenizer.vocabulary, 32))
    initialise(model, 0)
    save_checkpoint(tmp_path / "plain", model, tokenizer)
    return tmp_path / "plain"


def another_tokenizer(folder):
    train_tokenizer(["words of another text"] * 9, vocabulary=262).save(folder)


def test_a_checkpoint_of_ours_with_another_tokenizer_is_refused(folder, tmp_path):
    store = Store(tmp_path / "runs")
    recipe = read_recipe({"name": "mine"}, {}, (), where="test")
    made = imported(store, str(folder), recipe, StoreError("", "", ""))
    copy = tmp_path / "copy"
    shutil.copytree(made.folder, copy)
    another_tokenizer(copy)
    with pytest.raises(StoreError, match=r"tokenizer.json: not the tokenizer that the checkpoint"):
        run_phase("finetune", store, data=["chats.jsonl"], checkpoint=str(copy))
    (copy / "tokenizer.json").unlink()
    with pytest.raises(StoreError, match=r"tokenizer.json: missing"):
        run_phase("finetune", store, data=["chats.jsonl"], checkpoint=str(copy))


def test_a_plain_folder_taken_into_the_store_is_reported_each_time(folder, tmp_path):
    another_tokenizer(folder)  # nothing can tell
    store = Store(tmp_path / "runs")
    recipe = read_recipe({"name": "mine"}, {}, (), where="test")
    told = []
    for _ in range(2):
        imported(store, str(folder), recipe, StoreError("", "", ""), told.append)
    assert [(each.stage.name, each.reused) for each in told] == [("imported", 0), ("imported", 1)]


QUICK = {"batch_rows": 2, "threads": 1}


@pytest.fixture
def learnt(folder, tmp_path):
    """A store with a model and the conversations and pairs that it has learnt from."""
    store = Store(tmp_path / "runs")
    ask = [{"role": "user", "content": "abc"}]
    answers = [[{"role": "assistant", "content": each}] for each in ("ab", "bc", "ca", "cb")]
    lines = {
        "chats": [{"messages": [*ask, *each]} for each in answers],
        "pairs": [{"prompt": ask, "chosen": one, "rejected": answers[0]} for one in answers[1:]],
    }
    for name, each in lines.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, each)))
    chats, pairs = str(tmp_path / "chats.jsonl"), str(tmp_path / "pairs.jsonl")
    given = {"checkpoint": str(folder), "silent": True}
    settings = {**QUICK, "held_out": 0}
    run_phase("finetune", store, data=[chats], settings=settings, name="one", **given)
    run_phase("align", store, data=[pairs], settings=QUICK, name="one", **given)
    return store


@pytest.mark.parametrize(
    ("phase", "data", "result", "idle"),
    [
        ("finetune", "one/conversations", "sft", {"held_out": 0.5}),
        ("align", "one/preferences", "aligned", {"data": "functions"}),
    ],
)
def test_what_was_made_to_learn_from_is_learnt_from(learnt, folder, phase, data, result, idle):
    given = {"checkpoint": str(folder), "silent": True, "name": "two", "data": [data]}
    made = run_phase(phase, learnt, settings=QUICK, **given)
    assert [each.stage.name for each in made] == [result]
    assert made[0].artifact.digest == learnt.find(f"one/{result}").digest
    with pytest.raises(RecipeError, match=r"has no effect: the \w+ are made already \(one/"):
        run_phase(phase, learnt, settings=QUICK | idle, **given)


def test_reminders_are_refused_where_nothing_says_what_was_learnt(folder, tmp_path):
    with pytest.raises(RecipeError, match=r"align\.reminders: what the model was fine-tuned on"):
        run_phase(
            "align",
            Store(tmp_path / "runs"),
            data=["pairs.jsonl"],
            settings={"reminders": 0.5},
            checkpoint=str(folder),
        )


def test_a_corpus_of_other_records_is_refused_with_what_it_holds(learnt, folder):
    for phase, data, said in (
        ("finetune", "one/preferences", "holds preferences, and finetune reads documents or conv"),
        ("align", "one/conversations", "holds conversations, and align reads documents or pref"),
        ("pretrain", "one/conversations", "holds conversations, and pretrain reads documents"),
    ):
        with pytest.raises(StoreError, match=said):
            run_phase(phase, learnt, data=[data], checkpoint=None)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("collect.held_out_fraction=0.5", "has no effect on volano pretrain of what is given"),
        ("finetune.epochs=2", "has no effect on volano pretrain of what is given"),
        ("curate.dedup=off", "has no effect on volano pretrain of what is given"),
    ],
)
def test_a_setting_that_nothing_of_the_command_obeys_is_refused(learnt, tmp_path, setting, said):
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"id": "one", "text": "abc abc"}\n')
    run_phase("collect", learnt, data=[str(texts)], name="texts", silent=True)
    with pytest.raises(RecipeError, match=said):
        run_phase("pretrain", learnt, data=["texts/collected"], settings=[setting], silent=True)


def test_texts_are_taken_as_they_are_and_no_filter_is_set_for_nothing(learnt, tmp_path):
    texts = str(tmp_path / "texts.jsonl")
    with pytest.raises(RecipeError, match=r"texts are taken as they are. Run volano curate first"):
        run_phase("pretrain", learnt, data=[texts], settings=["curate.dedup=off"], silent=True)
    with pytest.raises(RecipeError, match="has no effect on volano pretrain"):
        run_phase("pretrain", learnt, data=[texts], settings=["plant.documents=5"], silent=True)
