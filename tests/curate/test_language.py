import socket

import pyarrow as pa
import pytest

from volano.curate import language
from volano.curate.decision import Decisions
from volano.curate.section import LanguageSection

ENGLISH = "Return the number of elements that are still waiting in the queue."
GERMAN = "Gibt die Anzahl der Elemente zurück, die sich noch in der Warteschlange befinden."
CRYPTIC = "m n tol kwargs axis"


def judged(texts, kinds=None, **settings):
    section = LanguageSection.model_validate(settings)
    column = pa.array(texts, pa.large_string())
    columns = language.measure_language(column, kinds or ["function"] * len(texts), section)
    decisions = Decisions.of(len(texts))
    language.judge_language(columns, section, decisions)
    return columns, decisions.dropped_by


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
