"""What a single phase takes for a checkpoint, and what it says of one."""

import shutil

import pytest

from volano.core.errors import StoreError
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
