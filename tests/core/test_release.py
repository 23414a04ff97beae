import re
import shutil

import pytest
from toy_steps import NUMBERS, SEEDED, Nothing, Numbers, unreferenced

from volano.core.errors import StoreError
from volano.core.release import (
    aliases,
    current,
    forget,
    promote,
    release_history,
    released,
    rollback,
)
from volano.core.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def checkpoint(store, seed):
    order = store.order(SEEDED, Nothing(), {}, name=f"toy/model{seed}", seed=seed)
    return store.make(order, silent=True).artifact


def test_an_alias_stands_for_what_was_promoted_last(store):
    one, two = checkpoint(store, 1), checkpoint(store, 2)
    promote(store, "production", one, reason="first")
    promote(store, "production", two, reason="better", gates=one)
    assert released(store, "production").digest == store.find("@production").digest == two.digest
    assert [each.reason for each in release_history(store, "production")] == ["first", "better"]
    assert current(store, "production").gates == store.path_of(one)


def test_rollback_restores_the_former_again_and_again_and_keeps_the_history(store):
    models = [checkpoint(store, seed) for seed in (1, 2, 3)]
    for each in models:
        promote(store, "production", each, reason="test")
    for expected in (models[1], models[0]):
        rollback(store, "production")
        assert released(store, "production").digest == expected.digest
    with pytest.raises(StoreError, match="nothing to go back to"):
        rollback(store, "production")
    promote(store, "production", models[2], reason="again")
    rollback(store, "production")
    assert released(store, "production").digest == models[0].digest
    assert len(release_history(store, "production")) == 7


def test_a_rollback_passes_over_what_was_deleted_since(store):
    one, two, three = (checkpoint(store, seed) for seed in (1, 2, 3))
    for each in (one, two, three):
        promote(store, "production", each, reason="test")
    shutil.rmtree(two.folder)
    assert rollback(store, "production").checkpoint == store.path_of(one)
    assert released(store, "production").digest == one.digest
    actions = [each.action for each in release_history(store, "production")]
    assert actions == ["promote"] * 3 + ["rollback"] * 2
    with pytest.raises(StoreError, match="nothing to go back to"):
        rollback(store, "production")
    promote(store, "production", three, reason="again")
    shutil.rmtree(one.folder)
    with pytest.raises(StoreError, match="all that it could go back to was deleted"):
        rollback(store, "production")
    assert released(store, "production").digest == three.digest, "and nothing has changed"


def test_a_release_of_a_deleted_checkpoint_says_so_and_what_to_do(store):
    one, two = checkpoint(store, 1), checkpoint(store, 2)
    promote(store, "production", one, reason="test")
    promote(store, "production", two, reason="test")
    shutil.rmtree(two.folder)
    with pytest.raises(StoreError, match=r"deleted .*volano rollback"):
        store.find("@production")
    rollback(store, "production")
    assert released(store, "production").digest == one.digest


def test_a_rollback_of_nothing_leaves_nothing_behind(tmp_path):
    store = Store(tmp_path / "store")
    with pytest.raises(StoreError, match="never promoted"):
        rollback(store, "production")
    assert not (store.folder / "releases").exists()
    Store(store.folder)


def test_what_a_release_stands_for_or_goes_back_to_is_never_cleaned_up(store):
    one, two, three = (checkpoint(store, seed) for seed in (1, 2, 3))
    for each in (one, two, three):
        (store.folder / "labels" / f"{each.name}.json").unlink()
    assert len(unreferenced(store)) == 3
    promote(store, "production", one, reason="test")
    promote(store, "production", two, reason="test", gates=three)
    assert unreferenced(store) == []
    rollback(store, "production")
    assert {each.digest for each in unreferenced(store)} == {two.digest, three.digest}


def test_a_release_that_forgets_keeps_what_stands_now_and_its_record(store):
    one, two, three = (checkpoint(store, seed) for seed in (1, 2, 3))
    for each in (one, two, three):
        (store.folder / "labels" / f"{each.name}.json").unlink()
    promote(store, "production", one, reason="test")
    promote(store, "production", two, reason="test", gates=three)
    holders = {each.digest: held for each, held in store.unlabelled()}
    assert holders[one.digest] == ["@production can go back to it"]
    assert holders[two.digest] == holders[three.digest] == ["@production stands for it"]
    forget(store, "production")
    forget(store, "production")  # nothing more to let go of
    assert [each.digest for each in unreferenced(store)] == [one.digest]
    assert released(store, "production").digest == two.digest
    with pytest.raises(StoreError, match=r"nothing to go back to. See `volano show @production`"):
        rollback(store, "production")
    actions = [each.action for each in release_history(store, "production")]
    assert actions == ["promote", "promote", "forget"]
    promote(store, "production", one, reason="test")
    rollback(store, "production")
    assert released(store, "production").digest == two.digest


@pytest.mark.parametrize(
    "reference, says",
    [("@production", "Make one: volano promote"), ("@Pro/../x", "no name of a release")],
)
def test_an_unknown_alias_is_named(store, reference, says):
    with pytest.raises(StoreError, match=re.escape(says)):
        store.find(reference)


def test_a_near_alias_is_proposed(store):
    promote(store, "production", checkpoint(store, 1), reason="test")
    assert aliases(store) == ["production"]
    with pytest.raises(StoreError, match=r"Did you mean '@production'\?"):
        store.find("@prodution")


def test_only_checkpoints_of_the_store_are_promoted(store, tmp_path):
    corpus = store.make(store.order(NUMBERS, Numbers(), {}, name="toy/n"), silent=True).artifact
    with pytest.raises(StoreError, match="this is a corpus"):
        promote(store, "production", corpus, reason="test")
    other = checkpoint(Store(tmp_path / "other"), 1)
    with pytest.raises(StoreError, match="outside the store"):
        promote(store, "production", other, reason="test")
