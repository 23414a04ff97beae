import json
from collections import Counter

import pytest

from volano.core.errors import DataError
from volano.core.records import Conversation, Message
from volano.evaluate.safety import held_out_prompts, measure_bag_of_words


def prompts(pairs=8, set_name="natural"):
    """Unsafe prompts say "steal", safe ones "sort": a bag of words tells them apart."""
    made = []
    for n in range(pairs):
        for kind, verb in (("unsafe", "steal"), ("safe", "sort")):
            metadata = json.dumps({"pair": f"{set_name}{n:02d}", "set": set_name})
            turns = (Message("user", f"{verb} number {n}"), Message("assistant", "x"))
            split = ("train", "test")[n % 2]
            identity = f"{set_name}{n:02d}-{kind}"
            made.append(Conversation(identity, turns, "s", kind, split, metadata=metadata))
    return made


def test_only_held_out_prompts_are_asked_in_whole_pairs_of_each_set():
    asked = held_out_prompts(prompts() + prompts(set_name="matched"), most=8)
    assert {each.split for each in asked} == {"test"}
    labels = Counter((each.id[:7], each.kind) for each in asked)
    assert labels == dict.fromkeys(
        [(name, kind) for name in ("matched", "natural") for kind in ("safe", "unsafe")], 2
    )
    assert len({each.id.rpartition("-")[0] for each in asked}) == 4


def test_a_sample_of_the_prompts_does_not_follow_their_ids():
    first = {each.id for each in prompts(200) if each.split == "test"}
    asked = [each.id for each in held_out_prompts(prompts(200), most=40)]
    assert set(asked) != set(sorted(first)[: len(asked)])


def test_set_without_a_test_half_is_refused():
    with pytest.raises(DataError, match="no held-out prompts"):
        held_out_prompts([each for each in prompts() if each.split == "train"], most=8)


def test_bag_of_words_finds_what_words_alone_give_away_and_each_set_stands_alone():
    conversations = prompts(20) + prompts(20, "matched")
    found = measure_bag_of_words(conversations, held_out_prompts(conversations, most=40))
    assert {m.name: (m.value, m.n) for m in found.measurements} == {
        "answered_safe": (1.0, 10),
        "answered_safe_matched": (1.0, 10),
        "refusal_unsafe": (1.0, 10),
        "refusal_unsafe_matched": (1.0, 10),
    }
    assert {item.stage for item in found.items} == {"bag of words"}
