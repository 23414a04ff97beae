import json

import pytest

from volano.align.preferences import (
    preference_of,
    reminders_of_conversations,
    safety_preferences,
    with_dropped_words,
)
from volano.core.errors import DataError
from volano.core.jsonlines import BadLine
from volano.core.records import Conversation, Message, Preference


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


def test_a_fraction_of_the_safe_prompts_is_drawn_and_every_unsafe_one_kept():
    safety = [prompt(kind, str(number)) for number in range(100) for kind in ("unsafe", "safe")]
    few, more, none = (safety_preferences(safety, (), share) for share in (0.07, 0.3, 0.0))
    assert [sum(each.kind == "safe" for each in some) for some in (few, more, none)] == [7, 30, 0]
    assert {sum(each.kind == "unsafe" for each in some) for some in (few, more, none)} == {100}
    assert {each.id for each in few} < {each.id for each in more}


def test_at_most_so_many_pairs_of_prompts_are_drawn_both_sides_of_each():
    safety = [prompt(kind, str(number)) for number in range(100) for kind in ("unsafe", "safe")]
    few, more = (safety_preferences(safety, most=most) for most in (8, 30))
    assert [sum(each.kind == kind for each in few) for kind in ("unsafe", "safe")] == [8, 8]
    assert {each.id for each in few} < {each.id for each in more}
    assert len(safety_preferences(safety, most=500)) == 200


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


TURNS = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Ho"},
    {"role": "user", "content": "And?"},
]


@pytest.mark.parametrize("prompt", [{}, {"prompt": TURNS}])
def test_sides_that_are_whole_conversations_are_read_without_their_prompt(prompt):
    sides = {key: [*TURNS, {"role": "assistant", "content": key}] for key in ("chosen", "rejected")}
    pair = preference_of(prompt | sides, "mine.jsonl:2")
    assert [each.content for each in pair.prompt] == ["Hi", "Ho", "And?"]
    assert pair.chosen == (Message("assistant", "chosen"),)
    assert pair.rejected == (Message("assistant", "rejected"),)
    first = preference_of({"prompt": "Hi"} | {k: each[:2] for k, each in sides.items()} | {
        "rejected": [TURNS[0], {"role": "assistant", "content": "Hu"}]
    }, "mine.jsonl:3")  # fmt: skip
    assert (first.chosen[0].content, first.rejected[0].content) == ("Ho", "Hu")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"prompt": "Hi", "chosen": "Ho"}, "rejected: no list of messages"),
        ({"prompt": "Hi", "chosen": "Ho", "rejected": "Ho"}, "the same"),
        (
            {"prompt": "", "chosen": [{"role": "user", "content": ""}], "rejected": "x"},
            "chosen: the",
        ),
        (
            {"prompt": "Hi", "chosen": [*TURNS[2:], *TURNS[1:2]], "rejected": "x"},
            "chosen: it begins neither with the prompt nor",
        ),
        ({"chosen": "Ho", "rejected": "Hu"}, "no field 'prompt', and chosen and rejected begin"),
    ],
)
def test_line_that_is_no_pair_is_refused_with_the_reason(line, reason):
    with pytest.raises(BadLine, match=reason):
        preference_of(line, "mine.jsonl:2")


def dropped(text, count=200, fraction=0.25):
    pair = Preference("p", (Message("user", text),), (Message("assistant", "a"),),
                      (Message("assistant", "b"),), "s", "safe")  # fmt: skip
    return with_dropped_words(pair, count, fraction)


def test_copies_lose_words_of_the_prompt_at_the_rate_asked_for_and_nothing_else():
    words = [f"w{n}" for n in range(20)]
    first, *others = dropped(" ".join(words))
    assert first.prompt[-1].content.split() == words
    lengths = []
    for copy in others:
        kept = copy.prompt[-1].content.split()
        assert kept == [word for word in words if word in kept]  # in order, none changed
        assert (copy.chosen, copy.rejected, copy.kind) == (first.chosen, first.rejected, "safe")
        lengths.append(len(kept))
    assert 14.5 < sum(lengths) / len(lengths) < 15.5
    assert len({copy.prompt for copy in others}) > 150
    assert dropped(" ".join(words)) == [first, *others]


def test_a_short_prompt_is_not_emptied():
    assert all(len(copy.prompt[-1].content.split()) == 3 for copy in dropped("sort these words"))


def test_without_dropout_copies_are_equal():
    first, *others = dropped("sort these words by length", 3, 0.0)
    assert others == [first, first]


def test_earlier_turns_keep_their_words():
    turns = (Message("user", "a b c d"), Message("assistant", "e f"), Message("user", "g h i j k"))
    pair = Preference("p", turns, (Message("assistant", "a"),), (Message("assistant", "b"),), "s")
    copies = with_dropped_words(pair, 20, 0.3)
    assert all(copy.prompt[:2] == turns[:2] for copy in copies)
    assert len({copy.prompt[2] for copy in copies}) > 2


def talk(name, *said, split="train"):
    roles = ("user", "assistant") * len(said)
    messages = tuple(Message(role, text) for role, text in zip(roles, said, strict=False))
    return Conversation(name, messages, "mine", split=split, licence="MIT", source_ids=("doc",))


def test_reminders_are_last_answers_of_training_conversations_with_nothing_to_prefer():
    talks = [talk(f"t{n}", "What?", f"Answer {n}.", "And then?", f"Then {n}.") for n in range(9)]
    unfit = [talk("x", "What?", "Held out.", split="test"), talk("y", "What?"), talk("z")]
    made = reminders_of_conversations([*unfit, *talks], 0.55)
    assert len({each.id for each in made}) == 5
    assert {each.id for each in made} <= {f"taught:t{n}" for n in range(9)}
    for each in made:
        number = each.id[-1]
        assert [turn.content for turn in each.prompt] == ["What?", f"Answer {number}.", "And then?"]
        assert each.chosen == each.rejected == (Message("assistant", f"Then {number}."),)
        assert (each.kind, each.licence, each.source_ids) == ("reminder", "MIT", ("doc",))
    assert {each.id for each in made} < {
        each.id for each in reminders_of_conversations(talks, 0.9)
    }  # more of them are others besides
    with pytest.raises(DataError, match="no conversation to remind of"):
        reminders_of_conversations(unfit, 0.5)
