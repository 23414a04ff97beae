"""What the steps between curation and training make of fixed documents, as digests.

A test here that fails means that the step's output changed: raise its `version` with the digest,
or stores would reuse what the old code made.
"""

import json

from volano.align.function_pairs import function_preferences
from volano.align.preferences import safety_preferences
from volano.align.step import PREFERENCES
from volano.collect.safety import collect_safety
from volano.collect.section import SafetySection
from volano.collect.step import SAFETY
from volano.core.corpus import Corpus
from volano.core.files import json_digest
from volano.core.records import Document
from volano.core.step import Context
from volano.evaluate.held_out import select_held_out
from volano.evaluate.step import HELD_OUT_FUNCTIONS
from volano.finetune.conversations import ask_about_functions
from volano.finetune.section import ConversationsSection
from volano.finetune.step import CONVERSATIONS

VERBS = ["Return", "Remove", "Count", "Merge", "Split", "Write", "Parse"]
NOUNS = ["rows", "columns", "bytes", "words", "edges", "nodes", "files", "lines", "keys"]


def documents():
    """63 functions in three splits; every ninth shares its first sentence with another split."""
    made = []
    for place in range(63):
        verb, noun = VERBS[place % 7], NOUNS[place // 7]
        name = f"store.{verb.lower()}_{noun}"
        summary = f"{verb} the {noun} of the table that match the given pattern."
        if place % 9 == 0:
            summary = "Do what the name says and nothing else at all."
        metadata = {"qualified_name": name, "module": "store", "signature": "(x)"}
        made.append(
            Document(
                id=f"toy:{name}",
                text=f"{name}(x)\n\n{summary}\n\nMore is said of {noun} below number {place}.",
                source="toy 1.0",
                kind="function",
                split=("train", "train", "test", "train", "pool")[place % 5],
                metadata=json.dumps(metadata | {"summary": summary}),
            )
        )
    return made


def digest(records):
    return json_digest([each.to_row() for each in records])[:16]


def test_conversations():
    conversations, left_out = ask_about_functions(documents(), ConversationsSection())
    assert (len(conversations), dict(left_out)) == (35, {"answer_repeated": 3})
    assert (CONVERSATIONS.version, digest(conversations)) == (2, "f76c3016cb6d1ffa")


def test_preferences():
    preferences = function_preferences(documents(), 20)
    assert (PREFERENCES.version, digest(preferences)) == (2, "58655c0df9574c03")


def test_held_out_functions():
    held_out = select_held_out(documents())
    assert {each.split for each in held_out} == {"test"}
    assert (HELD_OUT_FUNCTIONS.version, digest(held_out)) == (2, "36baf095cc2701dc")


def test_safety_conversations_and_the_pairs_made_of_them(tmp_path):
    context = Context(tmp_path / "safety", tmp_path / "scratch", 0, silent=True)
    collect_safety(SafetySection(), {}, context)
    safety = list(Corpus.open(context.folder).records())
    pairs = safety_preferences(safety, ["natural"])
    # The prompts are the step's input and change its fingerprint; the split must not change.
    assert (SAFETY.version, digest(safety)) == (1, "d49295e5a1740e86")
    assert digest(pairs) == "10be2dd873a96f64"
