import socket

import pyarrow as pa
import pytest

from volano.curate import language
from volano.curate.decision import Decisions
from volano.curate.language import _model
from volano.curate.language_codes import LANGUAGES, nearest_language
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


RUSSIAN = "Функция возвращает число элементов, которые ещё ждут своей очереди в списке."


def in_paragraphs(texts, kinds=None, keep=("en",), **settings):
    settings = {"min_words_left": 5, **settings}
    section = LanguageSection.model_validate({"keep": list(keep), "paragraphs": settings})
    column = pa.array(texts, pa.large_string())
    found = language.measure_language(column, kinds or ["prose"] * len(texts), section)
    decisions = Decisions.of(len(texts))
    language.judge_language(found.columns, section, decisions)
    return found, decisions


def test_foreign_paragraphs_are_cut_and_short_ones_stay():
    long, english = f"{GERMAN} {GERMAN}", f"{ENGLISH} {ENGLISH} {ENGLISH}"
    text = f"Überschrift\n\n{english}\n\n{long}\n\n{ENGLISH}"
    found, decisions = in_paragraphs([text, None, ""], min_characters=60)
    assert found.texts.to_pylist() == [f"Überschrift\n\n{english}\n\n{ENGLISH}", None, ""]
    assert decisions.dropped_by == [None] * 3
    columns = {name: column.to_pylist() for name, column in found.columns.items()}
    assert columns["language"] == ["en", None, None]
    assert columns["paragraphs_cut"] == [1, 0, 0]
    assert columns["cut_bytes"] == [len(long.encode()) + 2, 0, 0]
    assert columns["words_left"] == [1 + 4 * len(ENGLISH.split()), None, None]
    fraction = len(long) / (len(long) + len(english) + len(ENGLISH))
    assert columns["foreign_fraction"] == [pytest.approx(fraction, abs=1e-6), None, None]


def test_without_blank_lines_a_paragraph_is_a_line():
    text = "\n".join(
        [f"{ENGLISH} {ENGLISH}", f"{RUSSIAN} {RUSSIAN}", "Menu", f"{ENGLISH} {ENGLISH}"]
    )
    found, decisions = in_paragraphs([text, f"{ENGLISH}\n\n{ENGLISH}"])
    assert found.texts[0].as_py() == "\n".join(text.split("\n")[i] for i in (0, 2, 3))
    assert decisions.dropped_by == [None, None]


def test_what_is_mostly_foreign_or_has_little_left_is_dropped_and_says_so():
    foreign, english = f"{RUSSIAN} {RUSSIAN}", f"{ENGLISH} {ENGLISH}"
    mostly = "\n\n".join([english, foreign, foreign])
    _, decisions = in_paragraphs([mostly, foreign, f"{foreign}\n\nMenu"], max_foreign_fraction=1)
    assert decisions.dropped_by == [None, "language", "language"]
    assert decisions.evidence[1:] == ["words left without foreign paragraphs"] * 2
    _, decisions = in_paragraphs([mostly])
    assert decisions.dropped_by == ["language"]
    assert decisions.evidence == ["paragraphs are foreign"]
    assert decisions.value[0] == pytest.approx(
        2 * len(foreign) / (2 * len(foreign) + len(english)), abs=1e-6
    )


def test_a_foreign_beginning_that_was_cut_says_nothing_of_the_rest():
    english = "\n\n".join([f"{ENGLISH} {ENGLISH}"] * 6)
    section = {"keep": ["en"], "uncertain": "drop", "paragraphs": {}}
    found = language.measure_language(
        pa.array([f"{RUSSIAN} {RUSSIAN} {RUSSIAN}\n\n{english}"], pa.large_string()),
        ["prose"],
        LanguageSection.model_validate(section),
    )
    assert found.texts.to_pylist() == [english]
    assert found.columns["script_fraction"].to_pylist() == [1.0]
    decisions = Decisions.of(1)
    language.judge_language(found.columns, LanguageSection.model_validate(section), decisions)
    assert decisions.dropped_by == [None]


def test_a_paragraph_is_cut_only_where_probability_and_script_agree(monkeypatch):
    text = f"{ENGLISH} {ENGLISH}\n\n{GERMAN} {GERMAN}"
    for name, score, cut in (("ru", 0.9, 0), ("de", 0.9, 1), ("de", 0.6, 0)):

        def said(texts, characters=None, name=name, score=score):
            rows = list(texts)
            names = ["en" if row.startswith("Return") else name for row in rows]
            return names, [score] * len(rows)

        monkeypatch.setattr(language, "identify", said)
        found, _ = in_paragraphs([text])
        assert found.columns["paragraphs_cut"].to_pylist() == [cut]


def test_paragraphs_of_exempt_kinds_are_whole():
    found, _ = in_paragraphs([f"{GERMAN} {GERMAN}"], ["code"])
    assert found.texts.to_pylist() == [f"{GERMAN} {GERMAN}"]
    assert found.columns["script"].to_pylist() == [None]


def test_the_languages_of_a_recipe_are_those_of_the_model():
    assert len(set(LANGUAGES)) == len(LANGUAGES) == 176
    # It names those that a text has some probability of; a few texts have some of nearly all.
    found = {
        label.removeprefix("__label__")
        for text in [ENGLISH, GERMAN, "Привет, мир", "你好", "مرحبا", "शब्द", "kila mtu"]
        for label in _model().predict(text.replace("\n", " "), k=500)[0]
    }
    assert found <= set(LANGUAGES)
    assert len(found) > 160
    for code in ("de", "german", "DE", "deu", "ger", "de-CH", "de_AT"):
        assert nearest_language(code) == "de"
