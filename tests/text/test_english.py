"""Words as spaCy splits them: golden answers of spaCy itself, on what its rules look for."""

import pytest

from volano.text.english import english_words, words_of_run

# Made by spaCy 3.8.7: [each.text for each in spacy.blank("en")(text) if each.text.strip()].
GOLDEN = [
    ("Don't go (see U.S. law)!", "Do|n't|go|(|see|U.S.|law|)|!"),
    ("She'll say \"it's 10km :)\"", "She|'ll|say|\"|it|'s|10|km|:)|\""),
    ("http://a.bc/d?e=f, a.b@c.de; x.Y", "http://a.bc/d?e=f|,|a.b@c.de|;|x.|Y"),
    ("well-known a--b 1.5-2 1,000 a,b", "well|-|known|a|--|b|1.5|-|2|1,000|a|,|b"),
    ("id. I'm gonna cannot", "i|d.|I|'m|gon|na|can|not"),
    ("US$5 5US$ 3% e.g. p.m. 5p.m.", "US$|5|5|US$|3|%|e.g.|p.m.|5|p.m."),
    ("good:) ): ...what? No...", "good|:)|):|...|what|?|No|..."),
    ("1.2.3.4 127.0.0.1/x-y 8.8.8.8/x-y", "1.2.3.4|127.0.0.1|/|x|-|y|8.8.8.8/x-y"),
    ("“Well,” he said — ‘so’… 20°C. 5'10\"", "“|Well|,|”|he|said|—|‘|so|’|…|20|°|C|.|5'10|\""),
    ("naïve café-bar Zürich's l'été", "naïve|café|-|bar|Zürich|'s|l'été"),
    ("语言，模型。好 ไทย", "语言，模型。好|ไทย"),
    (
        "a/b x=y f(x)[0] __init__ C++ #tag @user",
        "a|/|b|x|=|y|f(x)[0|]|_|_|init|_|_|C++|#|tag|@user",
    ),
]
RUNS = ["", "a", "don't", "good:):)", "....", "'''", "http://a.b/…", "\ud800"]


@pytest.mark.parametrize(("text", "words"), GOLDEN)
def test_words_are_those_of_spacy(text, words):
    assert "|".join(english_words(text)) == words


@pytest.mark.parametrize("run", RUNS)
def test_the_words_of_a_run_add_up_to_it(run):
    assert "".join(words_of_run(run)) == run
