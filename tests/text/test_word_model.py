"""The n-gram model against a plain reference, numbers worked out by hand, and its files."""

import itertools
import math
import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volano.core.errors import DataError
from volano.text.word_model import NgramTraining, train_words
from volano.text.word_model_file import load_words, read_arpa, save_words, write_arpa


def words_of(line):
    """The words of a line, in plain Python."""
    found = []
    runs = itertools.groupby(line, key=lambda c: (c.isalnum() and not ideograph(c)) or c)
    for kind, run in runs:
        run = "".join(run)
        if kind is True:
            found.append("".join(fold(c) for c in run))
        elif not kind.isspace():
            found += list(run) if ideograph(kind) else [kind]
    return found


def fold(character):
    if character in "0123456789":
        return "0"
    return character.lower() if character.isascii() else character


def ideograph(character):
    code = ord(character)
    blocks = [(0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF)]
    blocks += [(0x20000, 0x323FF)]
    return character.isalnum() and any(first <= code <= last for first, last in blocks)


class Reference:
    """Interpolated modified Kneser-Ney over dictionaries; nothing is left out."""

    def __init__(self, sentences, order):
        self.order = order
        self.occurrences = [Counter() for _ in range(order + 1)]
        for words in sentences:
            marked = ["<s>", *words, "</s>"]
            for n in range(1, order + 1):
                for place in range(len(marked) - n + 1):
                    self.occurrences[n][tuple(marked[place : place + n])] += 1
        self.vocabulary = {gram[0] for gram in self.occurrences[1]} | {"<unk>"}
        self.weights = [Counter() for _ in range(order + 1)]
        for n in range(1, order):
            for gram in self.occurrences[n + 1]:
                self.weights[n][gram[1:]] += 1
            for gram, count in self.occurrences[n].items():
                if gram[0] == "<s>":
                    self.weights[n][gram] = count
        self.weights[order] = self.occurrences[order]
        self.weights[1][("<s>",)] = 0
        self.discounts = [self.discount(weights) for weights in self.weights]

    def discount(self, weights):
        of = Counter(weights.values())
        if not all(of[k] for k in (1, 2, 3, 4)):
            return [0, 0.5, 1, 1.5]
        share = of[1] / (of[1] + 2 * of[2])
        found = [0] + [k - (k + 1) * share * of[k + 1] / of[k] for k in (1, 2, 3)]
        return found if all(0 <= found[k] <= k for k in (1, 2, 3)) else [0, 0.5, 1, 1.5]

    def probability(self, context, word):
        n = len(context) + 1
        lower = self.probability(context[1:], word) if context else 1 / (len(self.vocabulary) - 1)
        follow = {g: w for g, w in self.weights[n].items() if g[:-1] == context}
        total = sum(follow.values())
        if not total:
            return lower
        discounts = self.discounts[n]
        own = follow.get((*context, word), 0)
        share = sum(discounts[min(w, 3)] for w in follow.values()) / total
        return (own - discounts[min(own, 3)]) / total + share * lower

    def log10(self, words):
        marked = ["<s>", *(w if w in self.vocabulary else "<unk>" for w in words), "</s>"]
        found = 0.0
        for place in range(1, len(marked)):
            context = tuple(marked[max(0, place - self.order + 1) : place])
            found += math.log10(self.probability(context, marked[place]))
        return found


def column(texts):
    return pa.array(texts, pa.large_string())


def sentences_of(text):
    return [words for line in text.split("\n") if (words := words_of(line))]


EVERY_WORD = {"fewest_word_occurrences": 1}


@settings(deadline=None, max_examples=60)  # the first call compiles
@given(st.lists(st.text(st.sampled_from("ab cé3中--\n.\u2028") | st.characters(codec="utf-8"))))
def test_words_are_those_of_the_reference_on_any_text(texts):
    expected = Counter(w for text in texts for s in sentences_of(text) for w in s)
    if not expected:
        with pytest.raises(DataError, match="no words"):
            train_words([column(texts)])
        return
    model = train_words([column(texts)], NgramTraining(order=1, **EVERY_WORD))
    assert set(model.words[3:]) == set(expected)
    assert model.about["words"] == sum(expected.values()) + model.about["sentences"]


def story(seed, lines=60):
    draw = random.Random(seed)
    names = ["cat", "dog", "sat", "ran", "the", "a", "on", "mat", "far", "."]
    weights = [5, 5, 4, 3, 12, 8, 4, 2, 1, 6]
    return "\n".join(
        " ".join(draw.choices(names, weights, k=draw.randint(1, 9))) for _ in range(lines)
    )


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_likelihoods_are_those_of_the_reference(order):
    text = story(1)
    model = train_words([column([text])], NgramTraining(order=order, **EVERY_WORD))
    reference = Reference(sentences_of(text), order)
    tests = [*story(2, 20).split("\n"), "an unseen word", "cat\n\ndog sat", "", " \n "]
    found, counts = model.likelihoods(column(tests))
    for line, value, count in zip(tests, found, counts, strict=True):
        sentences = sentences_of(line)
        # float16 holds a tenth of a per cent of each logarithm
        expected = sum(reference.log10(words) for words in sentences)
        assert value == pytest.approx(expected, rel=1e-3)
        assert count == sum(len(words) + 1 for words in sentences)
    assert model.perplexities(column(tests)).to_pylist()[-2:] == [None, None]


@pytest.mark.parametrize("fewest", [1, 2])
def test_probabilities_behind_any_context_add_to_one_though_rare_n_grams_are_left_out(fewest):
    model = train_words([column([story(3)])], NgramTraining(4, 1, fewest))
    assert (len(model.grams[2].first) < 150) == (fewest == 2)
    words = [word for word in model.words if word not in ("<s>", "<unk>", "</s>")] + ["zebra"]
    for context in ("the cat", "a dog sat", "mat mat mat"):
        # the word's own share: the sentence with it, less what </s> then costs
        share = 0.0
        for word in words:
            whole, _ = model.likelihoods(column([f"{context} {word}"]))
            share += 10 ** (whole[0] - _behind(model, f"{context} {word}") - _open(model, context))
        share += 10 ** _behind(model, context)
        assert share == pytest.approx(1, abs=0.01)


def _arrays(model):
    texts = list(model.words)
    found = {}
    for n, grams in enumerate(model.grams, start=1):
        if n > 1:
            texts = [
                f"{model.words[f]} {texts[r]}"
                for f, r in zip(grams.first.tolist(), grams.rest.tolist(), strict=True)
            ]
        for text, p, b in zip(texts, grams.log_prob, grams.back_off, strict=True):
            found[tuple(text.split(" "))] = (float(p), float(b))
    return found


def _conditional(table, context, word):
    if (*context, word) in table:
        return table[(*context, word)][0]
    back = table[context][1] if context in table else 0.0
    return back + _conditional(table, context[1:], word)


def _behind(model, text):
    """log10 of the probability of </s> behind a text."""
    table = _arrays(model)
    words = ["<s>", *(w if w in model.words else "<unk>" for w in text.split(" "))]
    return _conditional(table, tuple(words[-model.order + 1 :]), "</s>")


def _open(model, text):
    """log10 of the probability of a text as a beginning."""
    whole, _ = model.likelihoods(column([text]))
    return whole[0] - _behind(model, text)


def test_bigram_by_hand():
    # Two lines, "a b" and "a c": too few counts for discounts, so 0.5, 1 and 1.5 are taken.
    model = train_words([column(["a b\na c"])], NgramTraining(2, 1, 1))
    # Words before it, in different bigrams: a 1, b 1, c 1, </s> 2; with <unk> and </s>, 5 words.
    # p(b) = (1 - 0.5)/5 + (0.5 * 3 + 1)/5 / 5 = 0.2; p(a) the same; p(</s>) = 1/5 + 0.1 = 0.3
    # p(a | <s>) = (2 - 1)/2 + 1/2 * 0.2 = 0.6
    # p(b | a) = (1 - 0.5)/2 + (0.5 + 0.5)/2 * 0.2 = 0.35
    # p(</s> | b) = (1 - 0.5)/1 + 0.5 * 0.3 = 0.65
    found, counts = model.likelihoods(column(["a b"]))
    assert found[0] == pytest.approx(math.log10(0.6 * 0.35 * 0.65), rel=1e-3)
    assert counts[0] == 3


def test_numbers_are_digits_and_runs_of_a_mark_are_one_word():
    model = train_words([column(["On 24 May ---- it was"])], NgramTraining(1, 1, 1))
    assert set(model.words[3:]) == {"on", "00", "may", "-", "it", "was"}


def test_files_give_the_same_model_back(tmp_path):
    model = train_words([column([story(4)]), column([story(5)])], NgramTraining(3, 1, 1))
    save_words(model, tmp_path / "model")
    loaded = load_words(tmp_path / "model")
    write_arpa(loaded, tmp_path / "one.arpa")
    read = read_arpa(tmp_path / "one.arpa")
    write_arpa(read, tmp_path / "two.arpa")
    save_words(read, tmp_path / "again")
    write_arpa(load_words(tmp_path / "again"), tmp_path / "three.arpa")
    texts = column([story(6), "zebra"])
    assert (tmp_path / "one.arpa").read_text() == (tmp_path / "two.arpa").read_text()
    assert (tmp_path / "one.arpa").read_text() == (tmp_path / "three.arpa").read_text()
    for each in (loaded, read):
        assert np.array_equal(each.likelihoods(texts)[0], model.likelihoods(texts)[0])
    assert (loaded.words, loaded.about) == (model.words, model.about)


ARPA = """\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-1.0\t<unk>\t0
0\t<s>\t-0.3
-0.5\t</s>\t0
-0.4\train\t-0.2

\\2-grams:
-0.1\t<s> rain
-0.25\train </s>

\\end\\
"""


def test_a_foreign_arpa_is_scored_by_its_own_numbers(tmp_path):
    (tmp_path / "small.arpa").write_text(ARPA)
    model = read_arpa(tmp_path / "small.arpa")
    found, _ = model.likelihoods(column(["rain", "rain rain", "snow"]))
    # second: rain behind rain is no bigram: back-off of rain, then rain alone
    expected = [-0.1 - 0.25, -0.1 + (-0.2 - 0.4) - 0.25, (-0.3 - 1.0) + (0 - 0.5)]
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("ngram 2=2", "ngram 2=3", r"small.arpa:\d+: 2 2-grams, not 3"),
        ("<s> rain\n", "<s>\n", "1 words, not 2"),
        ("-0.1\t", "much\t", "could not convert"),
        ("\\end\\", "", "it stops before"),
        ("-1.0\t<unk>\t0\n", "-1.0\tunk\t0\n", "no <unk>"),
        ("<s> rain", "<s> snow", "'snow' is no word of it"),
        ("\\data\\", "data", "small.arpa:1: not ARPA"),
    ],
)
def test_what_is_no_arpa_is_told_with_its_line(tmp_path, old, new, told):
    (tmp_path / "small.arpa").write_text(ARPA.replace(old, new, 1))
    with pytest.raises(DataError, match=told):
        read_arpa(tmp_path / "small.arpa")


def test_a_damaged_file_is_no_model(tmp_path):
    model = train_words([column([story(4)])], NgramTraining(2, 1, 1))
    model.grams[1].rest[0] = 10_000  # beyond the words that there are
    save_words(model, tmp_path / "model")
    with pytest.raises(DataError, match="do not fit together"):
        load_words(tmp_path / "model")
    (tmp_path / "model").write_bytes(b"x" * 100)
    with pytest.raises(DataError, match="safetensors"):
        load_words(tmp_path / "model")


def test_unknown_words_are_unlikely_unless_rare_ones_are_made_unknown():
    text = story(7) + "\n" + "\n".join(f"the odd{chr(97 + n)} sat" for n in range(26))
    tests = column(["the cat sat on the mat .", "qxz vvk jwq pzz"])
    for fewest, most in ((1, 0.1), (2, 1.0)):
        good, bad = train_words([column([text])], NgramTraining(3, fewest, 1)).perplexities(tests)
        assert good.as_py() / bad.as_py() < most
    assert good.as_py() / bad.as_py() > 0.1
