"""The toxicity filter on real sentences: what is told, what is dropped, and by whose weights."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from volano.core.errors import DataError, RecipeError
from volano.curate.decision import Decisions, filters_in_use
from volano.curate.section import CurateSection, ToxicitySection
from volano.curate.step import STEP, scan
from volano.curate.toxicity import DATA, judge_toxicity, measure_toxicity
from volano.text.classifier_file import load_classifier, save_classifier
from volano.text.classify import Training, column_of, train

CLEAN = (
    "The parser reads one line at a time and hands each of them to the rules that you have given. "
    "A rule that does not match is left alone, and the next of them is tried, with the state that "
    "the parser had before.\nMany Muslims, Jews and gay people live in this part of the city.\n"
)
INSULT = "you are a fucking bitch, shut your stupid mouth you whore"
BOOK = CLEAN * 40 + INSULT + "\n" + CLEAN * 40


def measured(texts, kinds=None, **settings):
    section = ToxicitySection.read(settings, "curate.toxicity")
    found = measure_toxicity(column_of(texts), kinds or ["text"] * len(texts), section)
    decisions = Decisions.of(len(texts))
    judge_toxicity(found, section, decisions)
    return {name: column.to_pylist() for name, column in found.columns.items()}, decisions


def test_one_insult_in_a_book_is_as_toxic_as_alone_and_prose_is_not():
    found, _ = measured([CLEAN, INSULT, BOOK, "", " \n "])
    clean, insult, book, *empty = found["toxic"]
    assert clean < 0.7
    assert insult > 0.99
    assert book == insult
    assert empty == [0, 0]
    assert found["hate"][1] + found["offensive"][1] == pytest.approx(insult, abs=1e-4)


def test_polite_words_around_an_insult_make_it_little_better():
    found, _ = measured([CLEAN, INSULT, CLEAN.replace("\n", " ") + "you stupid bitch " + CLEAN])
    clean, insult, wrapped = found["toxic"]
    assert clean < 0.5 < 0.9 < wrapped <= insult


def test_measuring_drops_nothing_and_is_the_default():
    _, decisions = measured([CLEAN, INSULT])
    assert decisions.standing.all()
    assert "toxicity" not in filters_in_use(CurateSection())
    assert "toxicity" in filters_in_use(
        CurateSection.read({"toxicity": {"action": "drop"}}, "test")
    )


def test_a_dropped_document_shows_its_worst_passage_its_value_and_the_bound():
    found, decisions = measured([CLEAN, BOOK], action="drop", min_probability={"toxic": 0.99})
    assert decisions.dropped_by == [None, "toxicity"]
    assert decisions.evidence[1] == f"toxic: {INSULT}"
    assert decisions.threshold[1] == 0.99
    assert decisions.value[1] == found["toxic"][1]


def test_lists_count_words_out_of_all_and_a_name_alone_drops_nothing():
    found, decisions = measured(
        ["Dick ate.", "porn porn, p0rn! and nine words more stand here now", "He stabbed the man."],
        action="drop",
        min_probability={},
    )
    assert found["profanity"] == [1 / 2, 0, 0]
    assert found["sexual"] == [0, 3 / 10, 0]
    assert found["violence"] == [0, 0, 1 / 4]
    assert decisions.dropped_by == [None, "toxicity", None]
    assert decisions.evidence[1] == "sexual"


def test_per_line_counts_toxic_lines_out_of_those_that_hold_words():
    lines = ["The bridge was built of stone.", "", INSULT, "It stands to this day.", "A fine view."]
    text = "\n".join(lines)
    found, decisions = measured([text, CLEAN], per="line", action="drop")
    assert found["toxic_line_fraction"] == [1 / 4, 0]
    assert decisions.dropped_by == ["toxicity", None]
    _, lenient = measured(
        [text], per="line", action="drop", max_toxic_line_fraction=0.3, max_word_fraction={}
    )
    assert lenient.dropped_by == [None]


def test_exempt_kinds_are_not_read_and_never_dropped():
    found, decisions = measured([INSULT, INSULT], ["code", "text"], action="drop")
    assert found["toxic"][0] is None
    assert found["profanity"][0] is None
    assert decisions.dropped_by == [None, "toxicity"]


@pytest.fixture(scope="module")
def own_weights(tmp_path_factory) -> Path:
    rows = [("rain and wind", "dull"), ("sun and sand", "fine")] * 40
    texts = [f"{text} number {place}" for place, (text, _) in enumerate(rows)]
    made = train(column_of(texts), [label for _, label in rows], training=Training(bucket_bits=8))
    path = tmp_path_factory.mktemp("own") / "weather.safetensors"
    save_classifier(made.classifier, path)
    return path


def test_own_weights_are_judged_by_their_own_labels(own_weights):
    settings = {"model": str(own_weights), "neutral": "fine", "action": "drop"}
    found, decisions = measured(
        ["rain and wind", "sun and sand"], min_probability={"dull": 0.6}, **settings
    )
    assert found["dull"] == found["toxic"]
    assert decisions.dropped_by == ["toxicity", None]
    with pytest.raises(DataError, match="has no label 'hate'"):
        measured(["rain"], min_probability={"hate": 0.6}, **settings)
    with pytest.raises(DataError, match="Did you mean 'dull'"):
        measured(["rain"], min_probability={"dul": 0.6}, **settings)
    with pytest.raises(DataError, match="has no label 'neither'"):
        measured(["rain"], model=str(own_weights))


def test_the_neutral_label_cannot_be_what_is_toxic():
    with pytest.raises(DataError, match="'neither' is the neutral label"):
        measured(["rain"], min_probability={"neither": 0.5})


def test_the_weights_bear_identity_by_what_they_hold(own_weights, tmp_path):
    def listed(path):
        return scan(CurateSection.read({"toxicity": {"model": str(path)}}, "test")).digest()

    copy = tmp_path / "other-name"
    copy.write_bytes(own_weights.read_bytes())
    shipped = scan(CurateSection()).digest()
    assert listed(own_weights) == listed(copy) != shipped
    assert listed(DATA / "toxicity.safetensors") == shipped
    assert STEP.scan is scan
    with pytest.raises(DataError, match="no such file"):
        listed(tmp_path / "absent")


def test_wrong_settings_are_refused():
    for values, words in [
        ({"max_word_fraction": {"violense": 0.1}}, "Did you mean 'violence'"),
        ({"min_probability": {"hate": 1.5}}, "less than or equal to 1"),
        ({"per": "word"}, "'document' or 'line'"),
    ]:
        with pytest.raises(RecipeError, match=words):
            ToxicitySection.read(values, "curate.toxicity")


def test_the_weights_that_come_along_are_small_and_say_what_they_are():
    path = DATA / "toxicity.safetensors"
    assert path.stat().st_size <= 2_000_000
    classifier = load_classifier(path)
    assert classifier.labels == ("hate", "neither", "offensive")
    assert set(classifier.about["sha256_of_sources"]) >= {"labeled_data.csv", "vader_lexicon.txt"}
    entries = json.loads((DATA / "toxic_words.json").read_text("utf-8"))
    assert all(words == sorted(set(words)) for words in entries.values())


@pytest.mark.parametrize(
    "spelling",
    [
        "FUCKING BITCH",
        "fuckin b1tch",
        "fück\u200bing bitch",
        "f\u0301ucking bitchhhh",
        "ｆｕｃｋing bitch",
    ],
)
def test_another_spelling_passes_no_better(spelling):
    found, _ = measured([f"shut up you {spelling}"])
    assert found["toxic"][0] > 0.97


def test_a_slice_of_a_column_is_measured_as_it_stands_alone():
    section = ToxicitySection(per="line")
    texts = pa.array([INSULT, CLEAN, INSULT + "\n" + CLEAN, None], pa.large_string())
    whole = measure_toxicity(texts.fill_null(""), ["text"] * 4, section)
    part = measure_toxicity(texts.fill_null("").slice(2), ["text"] * 2, section)
    for name, column in whole.columns.items():
        assert part.columns[name].to_pylist() == column.to_pylist()[2:]
