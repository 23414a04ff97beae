from volano.text.near_questions import ask_one_of, near_question_groups

TOPICS = ["rain", "bread", "glass", "steel", "paper", "bridges", "clocks", "whales", "maps", "tea"]
TOPICS += ["moss", "coins", "ink", "kites", "salt", "owls", "gears", "wool", "rivers", "bells"]


def test_other_words_for_the_same_question_are_one_group():
    asked = [
        "How do I bake bread with rye flour?",
        "how do i bake bread with rye flour, please",
        "How do I send bread by post?",
        "Who wrote Hamlet?",
    ]
    assert near_question_groups(asked) == [0, 0, 2, 3]


def test_a_form_that_all_share_makes_no_two_questions_alike():
    form = "Summarise the following text in one short sentence for a busy reader: a page on {}."
    asked = [form.format(topic) for topic in TOPICS]
    assert near_question_groups([*asked, form.format("TEA!")]) == [*range(20), 9]


def test_questions_of_common_words_alone_are_alike_only_where_equal():
    asked = [f"what is it about {topic}, is it" for topic in TOPICS]
    assert near_question_groups([*asked, "what is it", "is it what", "What IS it?"])[20:] == [
        20,
        21,
        20,
    ]


def test_questions_without_words_and_in_other_scripts_are_told_apart():
    assert near_question_groups(["?!", "...", "雨はなぜ降るのか", "雨はなぜ降るのか?", "なに"]) == [
        0,
        1,
        2,
        2,
        4,
    ]


def test_a_conversation_leaks_by_any_of_its_turns():
    conversations = [["Who wrote Hamlet?"], ["Hello", "who wrote HAMLET"], ["Who sang?"], []]
    assert ask_one_of(conversations, ["Who wrote Hamlet?"]) == [True, True, False, False]
    assert ask_one_of(conversations, []) == [False] * 4
    assert ask_one_of([], ["Who wrote Hamlet?"]) == []
