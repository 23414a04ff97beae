import socket

import pyarrow as pa
import pytest

from volano.curate import language
from volano.curate.decision import Decisions
from volano.curate.scripts import _LANGUAGES, fractions_in_script, scripts_of
from volano.curate.section import LanguageSection
from volano.text.kernels.scripts import letters_by_script

ENGLISH = "Return the number of elements that are still waiting in the queue."
GERMAN = "Gibt die Anzahl der Elemente zurück, die sich noch in der Warteschlange befinden."
CRYPTIC = "m n tol kwargs axis"


def judged(texts, kinds=None, **settings):
    section = LanguageSection.model_validate(settings)
    column = pa.array(texts, pa.large_string())
    found = language.measure_language(column, kinds or ["function"] * len(texts), section)
    decisions = Decisions.of(len(texts))
    language.judge_language(found.columns, section, decisions)
    return found.columns, decisions.dropped_by


def test_the_model_loads_without_any_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    language._model.cache_clear()
    assert language.identify([ENGLISH, GERMAN])[0] == ["en", "de"]


def test_believed_foreign_text_goes_and_doubtful_text_stays_by_default():
    columns, dropped = judged([ENGLISH, GERMAN, CRYPTIC])
    assert columns["score"][2].as_py() < 0.65
    assert dropped == [None, "language", None]


def test_doubtful_text_goes_where_the_recipe_says_so():
    assert judged([ENGLISH, GERMAN, CRYPTIC], uncertain="drop")[1] == [None, "language", "language"]


def test_kept_languages_are_the_recipe_s():
    assert judged([ENGLISH, GERMAN], keep=["de"])[1] == ["language", None]


def test_exempt_kinds_are_not_even_read():
    columns, dropped = judged([GERMAN, GERMAN], ["code", "function"])
    assert columns["language"].to_pylist() == [None, "de"]
    assert dropped == [None, "language"]


@pytest.mark.parametrize("text", ["", " \n\t", None])
def test_a_text_without_words_has_no_language_and_stays(text):
    columns, dropped = judged([text], uncertain="drop")
    assert columns["language"].to_pylist() == [None]
    assert dropped == [None]


def test_as_many_characters_are_read_as_asked_for():
    text = f"{GERMAN} {ENGLISH * 3}"
    columns, _ = judged([text, text.replace(" ", "\n")], characters=len(GERMAN))
    assert columns["language"].to_pylist() == ["de", "de"]
    assert judged([text], characters=1000)[0]["language"].to_pylist() == ["en"]


def test_a_language_is_not_believed_where_the_text_stands_in_no_script_of_it():
    columns, _ = judged([ENGLISH, "Привет, мир, как дела сегодня?"], keep=["en", "ru"])
    assert columns["script"].to_pylist() == ["Latn", "Cyrl"]
    assert columns["script_fraction"].to_pylist() == [1.0, 1.0]

    section = LanguageSection.model_validate({"keep": ["en"]})
    columns = {
        "language": pa.array(["ru", "ru", "en"]),
        "score": pa.array([0.9, 0.9, 0.9]),
        "script": pa.array(["Latn", "Cyrl", "Latn"]),
        "script_fraction": pa.array([0.05, 1.0, 1.0]),
    }
    for uncertain, expected in (
        ("keep", [None, "language", None]),
        ("drop", ["language", "language", None]),
    ):
        decisions = Decisions.of(3)
        chosen = section.model_copy(update={"uncertain": uncertain})
        language.judge_language(columns, chosen, decisions)
        assert decisions.dropped_by == expected
    assert (decisions.value[0], decisions.threshold[0]) == (0.05, 0.1)
    assert decisions.evidence[0] == "most likely ru, in Latn"


def test_languages_of_several_scripts_are_known_in_each():
    letters = letters_by_script(pa.array(["добар дан", "dobar dan", "今日は", "オハヨウ"]))
    assert fractions_in_script(letters, ["sr", "sr", "ja", "ja"]) == [1.0] * 4
    assert fractions_in_script(letters, ["de", "ru", "zh", None]) == [0.0, 0.0, 0.666667, None]


def test_every_language_of_the_model_has_a_script_and_every_named_one_is_of_the_model():
    labels, _ = language._model().predict("the", k=176, threshold=-1)
    known = {label.removeprefix("__label__") for label in labels}
    assert len(known) == 176
    named = {name for names in _LANGUAGES.values() for name in names.split()}
    assert named <= known
    assert scripts_of("en") == {"Latn"}
    assert scripts_of("ru") == {"Cyrl"}


def test_foreign_paragraphs_are_cut_and_short_ones_stay():
    long = f"{GERMAN} {GERMAN}"
    text = f"Überschrift\n\n{ENGLISH} {ENGLISH} {ENGLISH}\n\n{long}\n\n{ENGLISH}"
    section = LanguageSection.model_validate({"paragraphs": {"min_characters": 60}})
    found = language.measure_language(
        pa.array([long, text, None, ""], pa.large_string()), ["prose"] * 4, section
    )
    left = f"Überschrift\n\n{ENGLISH} {ENGLISH} {ENGLISH}\n\n{ENGLISH}"
    assert found.texts.to_pylist() == ["", left, None, ""]
    assert found.columns["paragraphs_cut"].to_pylist() == [1, 1, 0, 0]
    # Of most bytes, though the text is read from its beginning where paragraphs are not asked for.
    assert found.columns["language"].to_pylist() == ["de", "en", None, None]
    abroad = len(long.encode())
    fraction = abroad / (abroad + 4 * len(ENGLISH) + 2)
    assert found.columns["foreign_fraction"].to_pylist() == [
        1.0,
        pytest.approx(fraction),
        None,
        None,
    ]


def test_paragraphs_of_exempt_kinds_are_whole():
    section = LanguageSection.model_validate({"paragraphs": {}})
    text = pa.array([f"{GERMAN} {GERMAN}"], pa.large_string())
    found = language.measure_language(text, ["code"], section)
    assert found.texts.to_pylist() == text.to_pylist()
    assert found.columns["script"].to_pylist() == [None]
