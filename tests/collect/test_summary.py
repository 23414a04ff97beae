import pytest

from volano.collect.summary import is_proper_sentence, plain, split_call, summary_of


@pytest.mark.parametrize(
    ("docstring", "summary"),
    [
        ("", ""),
        ("Return it. Then stop.", "Return it."),
        ("Return\n   it", "Return it"),
        ("Return e.g. the first one. Then stop.", "Return e.g. the first one."),
        ("Load data\n\nArgs:\n  x: y", "Load data"),
        ("Load data.\nArgs:\n  x: y", "Load data."),
        (":param x: y", ""),
        ("Parameters\n----------\nx : int", ""),
        (".. deprecated:: 1.3\n   Use y.\n\nGet it now.", "Get it now."),
        ("Title\n=====\nGet it.", "Title"),
    ],
)
def test_summary_is_the_first_sentence_before_any_list_of_parameters(docstring, summary):
    assert summary_of(docstring) == summary


@pytest.mark.parametrize(
    ("marked", "shown"),
    [
        ("a ``b`` and `c`", "a b and c"),
        (":class:`~a.b.C`, :func:`f` and :py:meth:`text <a.b>`", "C, f and text"),
        ("see `here <http://x>`_ and [there](http://y)", "see here and there"),
        ("a [`BertModel`] and [`~a.b.C`]", "a BertModel and C"),
        (
            "**bold** and *soft*, *args and **kwargs, 2 * 3 * 4",
            "bold and soft, *args and **kwargs, 2 * 3 * 4",
        ),
    ],
)
def test_markup_goes_and_words_stay(marked, shown):
    assert plain(marked) == shown


@pytest.mark.parametrize(
    ("docstring", "call", "rest"),
    [
        ("abs(x, *, out=None) -> Tensor\n\nGet it.", "abs(x, *, out=None) -> Tensor", "Get it."),
        ("f(a)\nGet it.", "f(a)", "Get it."),
        ("f(a)\nf(a, b)\n\nGet it.", "f(a)", "Get it."),
        ("f(\n  a,\n)\n--\n\nf(a)\n\nGet it.", "f( a, )", "Get it."),
        ("Get it (or not).", "", "Get it (or not)."),
        ("", "", ""),
    ],
)
def test_opening_call_is_split_from_what_it_opens(docstring, call, rest):
    assert split_call(docstring) == (call, rest)


@pytest.mark.parametrize(
    ("summary", "proper"),
    [
        ("Return the sum of all numbers.", True),
        ("Return the sum.", False),  # three words
        ("return the sum of all numbers.", False),
        ("Return the sum of all numbers", False),
        ("Return x[i] + 2*y[j] for 0 <= i < 10.", False),  # 14 letters of 25 characters
        ("Rückgabe der Summe aller Zahlen.", False),
    ],
)
def test_proper_sentence_has_words_capital_and_full_stop(summary, proper):
    assert is_proper_sentence(summary) is proper
