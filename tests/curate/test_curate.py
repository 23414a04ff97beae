"""Curation end to end, on a small corpus in which every filter has something to find."""

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from volano.core.corpus import Corpus, finish_corpus, write_shard
from volano.core.errors import DataError
from volano.core.records import Document, table_of
from volano.core.step import Context
from volano.curate.compare import compare
from volano.curate.decision import filters_in_use
from volano.curate.funnel import funnel, funnel_tokens, samples
from volano.curate.section import CurateSection
from volano.curate.step import STEP

HELD_OUT_DOCSTRING = (
    "Return the area of the shape in square units. The shape must be closed, and its corners are "
    "given in the order in which they are met on a walk around it. Negative numbers are allowed "
    "for the corners but not for the area that is returned. A line that crosses itself has no area."
)
HELD_OUT = f"geometry.area(shape, *, unit='m')\n\n{HELD_OUT_DOCSTRING}"
LICENCE = (
    "Permission is granted to any person who obtains a copy of this software to use it without "
    "limits, to change it, and to pass it on to others, so long as this notice stays with it and "
    "that the name of the author is not used to sell what was made from it in any way at all."
)
PROSE = (
    "The parser reads one line at a time and hands each of them to the rules that you have given. "
    "A rule that does not match is left alone, and the next of them is tried, with the state that "
    "the parser had before. If no rule is left, the line is kept for the report at the end."
)
POOL = (
    "Wait until the lock is free and take it. A thread that holds the lock and dies leaves it "
    "held, so be careful to set a limit to the wait with the argument that is called timeout and "
    "have a plan for what to do when the limit was reached and the lock is not yours to have."
)
GERMAN = (
    "Gibt die Anzahl der Elemente zurück, die sich noch in der Warteschlange befinden. Wenn die "
    "Warteschlange leer ist, wird null zurückgegeben. Diese Funktion darf aus mehreren Fäden "
    "gleichzeitig aufgerufen werden, ohne dass dabei Daten verloren gehen oder doppelt erscheinen."
)
TABLE = "\n".join(f"0x{n:04x} 0x{n * 7:04x} {n * 31} {n * 57}" for n in range(60))
LOOP = "Press the button to go on with the test. " * 20
CONTACT = (
    "If you find that something does not work, write to the author at ann.lee@mail.uni.de or call "
    "+41 44 668 1800 in the mornings. Say which version you have, what you did, what you saw, and "
    "what you wanted to see, and send the log of the run along with it so that we can look at it."
)
CODE = "def area(a, b):\n    return a * b\n\n\nfor i in range(10):\n    print(area(i, i))\n"


def document(name: str, text: str, *, kind: str = "function", split: str = "train") -> Document:
    return Document(id=name, text=text, source="test", kind=kind, split=split)


DOCUMENTS = [
    document("test-itself", HELD_OUT, split="test"),
    document("pool", POOL, split="pool"),
    document("licence", LICENCE, kind="licence"),
    document("german", GERMAN),
    document("table", TABLE),
    document("loop", LOOP),
    document("leak", "shapes.size(x)\n\n" + HELD_OUT_DOCSTRING.replace("square", "metric")),
    document("contact", CONTACT, kind="readme"),
    document("licence-exact", LICENCE.replace(", ", ",\n"), kind="licence"),
    document("licence-near", LICENCE + " Amen.", kind="licence"),
    document("prose", PROSE),
    document("pool-train", POOL + " Good luck."),
    document("code", CODE, kind="code"),
    document("unlisted-test", PROSE.replace("parser", "reader of wide tables"), split="test"),
]
REASONS = {
    "german": "language",
    "table": "gopher_quality",
    "loop": "gopher_repetition",
    "test-itself": "decontaminate",
    "leak": "decontaminate",
    "unlisted-test": "held_out",
    "licence-exact": "exact",
    "licence-near": "near",
    "pool": "near",  # its copy may be learnt now, so the one kept for later goes
}


@dataclass
class Folder:
    """What a step sees of an artifact."""

    folder: Path

    def corpus(self) -> Corpus:
        return Corpus.open(self.folder)


def write_corpus(folder: Path, documents: list[Document], *, per_shard: int = 4) -> Folder:
    for place, start in enumerate(range(0, len(documents), per_shard)):
        part = documents[start : start + per_shard]
        write_shard(folder / "data" / f"{place:05d}.parquet", table_of(part, Document))
    finish_corpus(folder, "document")
    return Folder(folder)


@pytest.fixture
def curate(tmp_path: Path) -> Callable[..., Corpus]:
    """Curates documents under recipe settings; `run` names the folder, so that a run resumes."""

    def curated(
        documents: list[Document] = DOCUMENTS, *, run: str = "run", workers: int = 2, **settings
    ) -> Corpus:
        inputs = {
            "documents": write_corpus(tmp_path / f"{run}-in", documents),
            "held_out": write_corpus(tmp_path / f"{run}-held", [document("area", HELD_OUT)]),
        }
        values = {"decontaminate": {"against": ["held_out"]}} | settings
        section = CurateSection.read(values, "test")
        scratch = tmp_path / f"{run}-scratch"
        STEP.run(section, inputs, Context(tmp_path / run, scratch, 1, workers, silent=True))
        return Corpus.open(tmp_path / run)

    return curated


def reasons(corpus):
    rows = corpus.attributes("decision").to_pylist()
    return {row["id"]: row["dropped_by"] for row in rows if row["dropped_by"]}


def text_of(corpus, name):
    (text,) = corpus.to_arrow().filter(pc.field("id") == name)["text"].to_pylist()
    return text


def digest(corpus):
    rows = [corpus.to_arrow().to_pylist(), corpus.dropped().to_pylist()]
    rows += [corpus.attributes(group).to_pylist() for group in corpus.groups()]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def test_each_planted_document_falls_to_its_filter_and_the_rest_stays(curate):
    corpus = curate()
    assert reasons(corpus) == REASONS
    stays = [each.id for each in DOCUMENTS if each.id not in REASONS]
    assert corpus.to_arrow(["id"])["id"].to_pylist() == stays


def test_personal_data_is_replaced_in_what_stays_and_counted_beside_it(curate):
    corpus = curate()
    replaced = CONTACT.replace("ann.lee@mail.uni.de", "<EMAIL>").replace(
        "+41 44 668 1800", "<PHONE>"
    )
    assert text_of(corpus, "contact") == replaced
    (counts,) = corpus.attributes("pii").filter(pc.field("id") == "contact").to_pylist()
    assert (counts["email"], counts["phone"], counts["credit_card"]) == (1, 1, 0)


def test_personal_data_stays_where_the_recipe_says_off(curate):
    assert text_of(curate(pii={"action": "off"}), "contact") == CONTACT


KEY = "a long enough key for a test"


def test_hash_and_surrogate_depend_on_the_key_which_is_in_no_artifact(curate, monkeypatch):
    texts = {}
    for key in (KEY, KEY + "!"):
        monkeypatch.setenv("VOLANO_PII_KEY", key)
        for action in ("hash", "surrogate"):
            corpus = curate(run=f"{action}-{len(key)}", pii={"action": action})
            texts[key, action] = text_of(corpus, "contact")
            found = [path for path in corpus.folder.rglob("*") if path.is_file()]
            assert not any(key.encode() in path.read_bytes() for path in found)
    assert len(set(texts.values())) == 4
    assert re.search(r"<EMAIL:[0-9a-f]{12}>.*<PHONE:[0-9a-f]{12}>", texts[KEY, "hash"], re.S)
    assert re.search(r"@example\.(com|net|org).*555-01[0-9]{2}", texts[KEY, "surrogate"], re.S)


def test_every_input_has_attributes_and_every_dropped_document_its_own_text(curate):
    corpus = curate()
    for group in corpus.groups():
        assert corpus.attributes(group)["id"].to_pylist() == [each.id for each in DOCUMENTS]
    dropped = {row["id"]: row for row in corpus.dropped().to_pylist()}
    assert {name: row["dropped_by"] for name, row in dropped.items()} == REASONS
    assert all(dropped[each.id]["text"] == each.text for each in DOCUMENTS if each.id in REASONS)


def test_funnel_adds_up_in_documents_and_bytes(curate):
    corpus = curate()
    rows = funnel(corpus)
    section = CurateSection.read({"decontaminate": {"against": ["held_out"]}}, "test")
    assert [row.filter for row in rows] == ["input", *filters_in_use(section)]
    assert "decontaminate" not in filters_in_use(CurateSection())  # nothing to compare with
    assert rows[0].documents == len(DOCUMENTS)
    assert rows[0].bytes == sum(len(each.text.encode()) for each in DOCUMENTS)
    for before, after in pairwise(rows):
        assert after.documents + after.documents_dropped == before.documents
        assert after.bytes + after.bytes_dropped == before.bytes
    assert rows[-1].documents == len(corpus)
    assert corpus.manifest["funnel"] == [row._asdict() for row in rows]


def test_samples_show_the_dropped_text_with_value_and_threshold(curate):
    shown = samples(curate(), per_filter=1, filters=["language", "near"])
    assert [each.filter for each in shown] == ["language", "near"]
    assert (shown[0].id, shown[0].text) == ("german", GERMAN)
    assert shown[0].evidence == "most likely de"
    assert shown[0].value > shown[0].threshold


def test_evidence_names_the_statistic_or_the_other_document(curate):
    rows = {row["id"]: row for row in curate().attributes("decision").to_pylist()}
    assert rows["leak"]["evidence"] == "shares runs of 2 words with held_out area"
    assert rows["licence-exact"]["evidence"] == "copy of licence"
    assert rows["pool"]["evidence"] == "copy of pool-train"
    assert rows["table"]["evidence"] == "alphabetic_word_fraction"
    assert rows["table"]["value"] < rows["table"]["threshold"] == 0.8


@pytest.mark.parametrize("edit", [("shape", "figure"), ("Negative", "Positive"), ("The", "Each")])
def test_an_edited_copy_of_a_held_out_text_never_survives(curate, edit):
    planted = document("planted", "other.name(x)\n\n" + HELD_OUT_DOCSTRING.replace(*edit))
    assert reasons(curate([*DOCUMENTS, planted]))["planted"] == "decontaminate"


def test_a_copy_from_which_a_rule_cuts_lines_is_still_a_copy(curate):
    kept, *cut = HELD_OUT_DOCSTRING.split(". ")
    text = "\n".join([f"{kept}.", *(each.rstrip(".") for each in cut), f"{PROSE}"])
    settings = {
        "quality": {"rules": ["c4"], "c4": {"min_sentences": 1}},
        "language": "off", "dedup": "off", "pii": "off", "toxicity": "off",
    }  # fmt: skip
    alone = curate([document("copy", text)], run="alone", decontaminate="off", **settings)
    assert text_of(alone, "copy") == f"{kept}.\n{PROSE}", "or the rule does not cut"
    both = [document("copy", text), document("prose", PROSE)]
    assert reasons(curate(both, **settings)) == {"copy": "decontaminate"}


def test_with_all_else_off_only_what_is_held_out_falls(curate):
    corpus = curate(language="off", quality="off", toxicity="off", dedup="off", pii="off")
    assert set(reasons(corpus)) == {"test-itself", "leak", "unlisted-test"}
    assert corpus.groups() == ["decision", "decontaminate"]


def test_output_depends_neither_on_workers_nor_on_being_killed_half_way(curate, tmp_path):
    whole = curate(run="whole", workers=1)
    curate(run="cut", workers=2)
    for lost in (
        "cut/data/00001.parquet",
        "cut/attributes/decision/00001.parquet",
        "cut-scratch/measured/00002.parquet",
        "cut/manifest.json",
    ):
        (tmp_path / lost).unlink()
    assert digest(curate(run="cut")) == digest(whole)
    for shard in whole.shards():
        assert (tmp_path / "cut" / "data" / shard.name).read_bytes() == shard.read_bytes()


def test_finished_shards_are_not_made_again(curate, tmp_path):
    def times():
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "data").iterdir()}

    curate()
    before = times()
    curate()
    assert times() == before


def test_nothing_left_is_an_error_that_names_the_filter_and_its_bound(curate):
    told = r"all 14 documents were dropped, 13 of them by 'gopher_quality', 13 for min_words"
    loosen = r".*Loosen curate\.quality\.gopher_quality\.min_words, or give more documents"
    with pytest.raises(DataError, match=told + loosen):
        curate(quality={"gopher_quality": {"min_words": 5000, "exempt_kinds": []}})


def test_a_missing_held_out_corpus_is_named(curate):
    with pytest.raises(DataError, match="no held-out corpus 'elsewhere'"):
        curate(decontaminate={"against": ["elsewhere"]})


def test_folder_loads_in_datasets_unconverted(curate, tmp_path):
    corpus = curate()
    rows = load_dataset(str(corpus.folder), cache_dir=str(tmp_path / "cache"))["train"]
    assert list(rows["id"]) == corpus.to_arrow(["id"])["id"].to_pylist()


def test_a_shard_without_survivors_is_written_empty(curate):
    corpus = curate([document(f"german-{n}", f"{GERMAN} {n}") for n in range(4)] + DOCUMENTS)
    assert corpus.shards()[0].name == "00000.parquet"
    assert len(corpus) == len(DOCUMENTS) - len(REASONS)


def test_output_for_a_fixed_input_changes_only_with_the_version(curate):
    golden = {6: "735d26cbe763093606bc69124773d75d7a8bac4b022c495966e442547b16f767"}
    assert digest(curate()) == golden[STEP.version], "raise STEP.version in curate/step.py"


PAGE = (
    "Home | About us\n"
    "The harbour was built in 1820 and has been in use since.[3] It is deep enough for all ships.\n"
    "A pilot is on call at any hour of the day. You can reach him from the bridge of your ship!\n"
    "This page needs JavaScript to show the map of it.\n"
    "Is there a crane? There is, and it lifts ten tons with ease.\n"
    "We use cookies to count you."
)
LEFT = "\n".join([PAGE.splitlines()[1].replace("[3]", ""), *PAGE.splitlines()[2:5:2]])
LIST = "\n".join(f"Lot {n}, a chair of oak with arms." for n in range(30))
WEB = {
    "quality": {"rules": ["gopher_quality", "c4", "fineweb"], "gopher_quality": {"min_words": 10}},
    "decontaminate": "off",
    "language": "off",
}


def test_c4_leaves_the_lines_that_are_sentences_and_says_what_went(curate):
    corpus = curate([document("page", PAGE)], **WEB)
    assert text_of(corpus, "page") == LEFT
    (row,) = corpus.attributes("c4").to_pylist()
    counts = {name: row[name] for name in row if name not in ("id", "passed")}
    assert {name: count for name, count in counts.items() if count} == {
        "sentences": 6,
        "lines": 6,
        "unterminated_lines": 1,
        "javascript_lines": 1,
        "policy_lines": 1,
    }
    assert row["passed"] is True


LISTED = f"{LIST}\n{PAGE}".replace("arms.", "arms")  # no sentences: c4 takes these lines out


@pytest.mark.parametrize("order", [["c4", "fineweb"], ["fineweb", "c4"]])
def test_rules_judge_in_their_order_and_behind_c4_what_it_has_left(curate, order):
    rules = {"rules": order, "fineweb": {"min_terminal_line_fraction": 0.5}}
    documents = [document("listed", LISTED), document("page", PAGE)]
    corpus = curate(documents, **{**WEB, "quality": rules}, dedup="off")
    assert [row.filter for row in funnel(corpus)][1:3] == order
    if order[0] == "c4":
        assert text_of(corpus, "listed") == LEFT
    else:
        (gone,) = corpus.dropped().to_pylist()
        assert (gone["id"], gone["dropped_by"]) == ("listed", "fineweb")
        assert gone["text"] == LISTED


def test_code_keeps_its_lines_and_curly_brackets(curate):
    text = "int main() {\n  return 0;\n}\n" * 3
    corpus = curate([document("main.c", text, kind="code")], **WEB, dedup="off")
    assert text_of(corpus, "main.c") == text


def test_curly_brackets_drop_the_document_with_the_evidence(curate):
    corpus = curate([document("page", PAGE), document("css", PAGE + "\nA { b. }.")], **WEB)
    (row,) = corpus.attributes("decision").filter(pc.field("id") == "css").to_pylist()
    assert (row["dropped_by"], row["evidence"], row["value"]) == ("c4", "curly_brackets", 1)


def test_where_every_document_falls_to_a_switch_of_c4_the_message_names_it(curate):
    rules = {"rules": ["c4"]}
    with pytest.raises(DataError, match=r"Loosen curate\.quality\.c4\.curly_brackets, or give"):
        curate([document("css", PAGE + "\nA { b. }.")], **{**WEB, "quality": rules})


NOTICE = "SIGN UP FOR OUR LETTER NOW"
STORY = "\n".join([PROSE, "3 likes", POOL, CONTACT, LICENCE])
FORM = {"language": "off", "dedup": "off", "decontaminate": "off", "pii": "off"}


def test_refinedweb_takes_lines_out_and_drops_what_has_many_of_them(curate):
    documents = [document("story", STORY), document("notice", f"{NOTICE}\n{PROSE}")]
    documents.append(document("program", f"{NOTICE}\n{CODE}", kind="code"))
    corpus = curate(documents, quality={"rules": ["refinedweb"]}, **FORM)
    assert text_of(corpus, "story") == STORY.replace("3 likes\n", "")
    assert text_of(corpus, "program") == f"{NOTICE}\n{CODE}"
    (gone,) = corpus.dropped().to_pylist()
    assert (gone["id"], gone["text"]) == ("notice", f"{NOTICE}\n{PROSE}")
    rows = {row["id"]: row for row in corpus.attributes("decision").to_pylist()}
    assert rows["notice"]["evidence"] == "removed_word_fraction"
    assert rows["notice"]["value"] == 6 / (6 + len(PROSE.split()))


def test_rules_behind_an_edit_read_what_it_has_left(curate):
    listed = "\n".join([PROSE, *["3 likes"] * 2, POOL, CONTACT, LICENCE])
    for order, lines in ((["refinedweb", "fineweb"], 3), (["fineweb", "refinedweb"], 5)):
        quality = {"rules": order, "fineweb": {"max_copied_line_character_fraction": 1}}
        corpus = curate([document("listed", listed)], run=order[0], quality=quality, **FORM)
        (row,) = corpus.attributes("fineweb").to_pylist()
        assert row["newline_word_ratio"] > 0
        assert (row["copied_line_character_fraction"] > 0) == (lines == 5)


def test_each_rule_on_form_drops_what_it_is_for_and_no_prose(curate):
    draw = random.Random(0)
    letters = "qwzxvkjpbf"
    mash = " ".join("".join(draw.choices(letters, k=6)) for _ in range(60))
    planted = {
        "sentences": "\n".join(f"red chair oak arms lot {n} price" for n in range(20)),
        "spam": "Buy cheap watches here. The cheap watches of cheap quality. " * 8,
        "gibberish": mash,
    }
    documents = [document(name, text) for name, text in planted.items()]
    documents += [document(f"prose-{n}", t) for n, t in enumerate([PROSE, POOL, LICENCE, CONTACT])]
    documents.append(document("german", GERMAN))
    documents += [
        document("minified", "a=b;" * 400, kind="code"),
        document("made", "# Automatically generated by a tool\nx = 1\n", kind="code"),
        document("code", CODE, kind="code"),
    ]
    rules = ["gibberish", "sentences", "spam", "code"]
    quality = {"rules": rules, "sentences": {"min_stop_word_fraction": 0}}
    corpus = curate(documents, quality=quality, **FORM)
    expected = {name: name for name in planted} | {"minified": "code", "made": "code"}
    assert reasons(corpus) == expected
    english = curate(documents, run="english", quality={"rules": ["sentences"]}, **FORM)
    assert reasons(english)["german"] == "sentences"


def test_the_funnel_counts_tokens_where_a_tokenizer_is_given(curate):
    corpus = curate()
    rows = funnel(corpus)
    found = funnel_tokens(corpus, rows, lambda texts: [text.split() for text in texts])
    left = [text.split() for text in corpus.to_arrow(["text"])["text"].to_pylist()]
    assert found[-1] == sum(map(len, left))
    gone = Counter()
    for shard in corpus.shards("dropped"):
        for row in pq.read_table(shard).to_pylist():
            gone[row["dropped_by"]] += len(row["text"].split())
    assert len(gone) > 3
    steps = zip(rows[1:], pairwise(found), strict=True)
    lost = {row.filter: before - after for row, (before, after) in steps}
    assert {name: count for name, count in lost.items() if count} == gone


def test_foreign_paragraphs_are_gone_from_what_is_written_and_the_funnel_counts_them(curate):
    english = f"{PROSE.replace('parser', 'scanner')} {LICENCE.replace('software', 'book')}"
    mixed = [*DOCUMENTS, document("mixed", f"{english}\n\n{GERMAN}")]
    corpus = curate(mixed, language={"paragraphs": {}}, dedup={"minhash": "off"}, run="cut")
    assert text_of(corpus, "mixed") == english
    row = next(each for each in funnel(corpus) if each.filter == "language")
    assert row.bytes_cut == len(GERMAN.encode()) + 2
    assert reasons(corpus)["german"] == "language"


def test_a_shard_of_the_input_that_vanishes_is_named_and_a_rerun_finishes(
    curate, tmp_path, monkeypatch
):
    gone = tmp_path / "run-in/data/00001.parquet"

    def compared_before_a_loss(*arguments):
        found = compare(*arguments)
        gone.unlink()
        return found

    monkeypatch.setattr("volano.curate.run.compare", compared_before_a_loss)
    with pytest.raises(DataError) as refused:
        curate()
    assert str(refused.value) == (
        f"{gone}: shard missing. Delete the corpus and run again to build it anew."
    )
    monkeypatch.undo()
    assert digest(curate()) == digest(curate(run="whole"))
