import json

import pytest

from volano.align.preferences import preference_of, safety_preferences
from volano.core.errors import DataError
from volano.core.jsonlines import BadLine
from volano.core.records import Conversation, Message


def prompt(kind, pair="1", split="train", set_name="natural"):
    messages = (Message("user", f"{kind} prompt"), Message("assistant", f"{kind} answer"))
    metadata = json.dumps({"pair": pair, "set": set_name})
    return Conversation(f"{kind}{pair}", messages, "s", kind, split, metadata=metadata)


def test_unsafe_prompt_prefers_the_refusal_and_its_look_alike_the_answer():
    refuse, answer = safety_preferences([prompt("unsafe"), prompt("safe")])
    assert refuse.prompt == (Message("user", "unsafe prompt"),)
    assert refuse.chosen == answer.rejected == (Message("assistant", "unsafe answer"),)
    assert refuse.rejected == answer.chosen == (Message("assistant", "safe answer"),)
    assert refuse.source_ids == ("unsafe1", "safe1")


def test_held_out_half_is_never_used():
    assert safety_preferences([prompt("unsafe", split="test"), prompt("safe", split="test")]) == []


def test_prompt_without_its_counterpart_is_refused_by_name():
    with pytest.raises(DataError, match="pair '7' has only"):
        safety_preferences([prompt("unsafe", "7")])


def test_only_the_sets_asked_for_make_pairs_and_an_unknown_one_is_named():
    safety = [
        prompt(kind, name, set_name=name)
        for name in ("natural", "matched")
        for kind in ("unsafe", "safe")
    ]
    assert len(safety_preferences(safety)) == 4
    asked = safety_preferences(safety, ["matched"])
    assert {pair.id for pair in asked} == {"safety:unsafematched", "safety:safematched"}
    with pytest.raises(DataError, match=r"^align\.safety_sets: no set 'natral'\. Did"):
        safety_preferences(safety, ["natral"])


@pytest.mark.parametrize("as_text", [True, False])
def test_users_line_in_either_form_becomes_a_preference(as_text):
    line = {"prompt": "Hi", "chosen": "Ho", "rejected": "Hu"}
    if not as_text:
        roles = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
        line = {key: [{"role": roles[key], "content": text}] for key, text in line.items()}
    pair = preference_of(line, "mine.jsonl:2")
    assert pair.id == "mine.jsonl:2"
    assert pair.prompt == (Message("user", "Hi"),)
    assert (pair.chosen[0].content, pair.rejected[0].content) == ("Ho", "Hu")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"prompt": "Hi", "chosen": "Ho"}, "rejected: no list of messages"),
        ({"prompt": "Hi", "chosen": "Ho", "rejected": "Ho"}, "the same"),
        (
            {"prompt": "", "chosen": [{"role": "user", "content": ""}], "rejected": "x"},
            "chosen: the",
        ),
    ],
)
def test_line_that_is_no_pair_is_refused_with_the_reason(line, reason):
    with pytest.raises(BadLine, match=reason):
        preference_of(line, "mine.jsonl:2")
