import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.text.kernels import plain_ngrams as plain
from volano.text.kernels.buffers import text_buffers
from volano.text.kernels.hashed import Sizes, folds, next_word
from volano.text.kernels.linear import cut_windows, scores_of, shift_of, train_epoch

# The second alphabet makes signs meet letters: names, addresses, stars, digits, accents, scripts.
texts = st.text(max_size=30) | st.text(
    alphabet="aAbé\u0301ßǅ語か0179@$*_:/ \n'’ﬁ\u200dकि", max_size=24
)
columns = st.lists(st.none() | texts, max_size=8)
SIZES = [Sizes(2, 4, 2), Sizes(0, 0, 1), Sizes(3, 3, 1)]
BITS, LABELS = 10, 3
WEIGHTS = np.random.default_rng(0).normal(size=(1 << BITS, LABELS)).astype(np.float32)
BIAS = np.array([0.5, -0.25, 0], np.float32)


def words_in(text):
    _, utf8, _ = text_buffers(pa.array([text], pa.large_string()))
    found, place, word = [], 0, np.empty(40, np.uint32)
    while True:
        place, count, _ = next_word(utf8, place, len(utf8), folds(), word)
        if not count:
            return found
        found.append("".join(map(chr, word[:count])))


@settings(deadline=None, max_examples=200)  # the first call compiles
@given(texts)
@example("http://a.b c https: d see:http://x")
@example("a**b *a* a* 5$ $5 5$a $a a$ @a_b@c x@y @ é@")
def test_words_are_those_of_the_plain_reference(text):
    assert words_in(text) == plain.words_of(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Fück f*ck fuuuuck FU\u200bCK", ["fuck", "f*ck", "fuuck", "fuck"]),
        ("sh1t $hit a$$ b@stard 2nd", ["shit", "shit", "ass", "bastard", "znd"]),
        ("@some_one: see https://t.co/x?y now", ["see", "now"]),
        ("In 1984 it cost $50; *really*!", ["in", "0000", "it", "cost", "00", "really"]),
        ("don't 日本 naïve ＡＢ", ["dont", "日", "本", "naive", "ab"]),
        ("x" * 50 + "y", ["xxy"]),
        ("ab" * 30, ["ab" * 20]),
    ],
)
def test_golden_words(text, words):
    assert words_in(text) == words


@settings(deadline=None)
@given(columns, st.sampled_from(SIZES), st.integers(0, 2))
def test_scores_equal_the_plain_reference_on_any_slice(rows, sizes, skipped):
    bounds, utf8, _ = text_buffers(pa.array(rows, pa.string()).slice(skipped))
    starts, stops = (np.ascontiguousarray(each) for each in (bounds[:-1], bounds[1:]))
    found, worst = scores_of(utf8, starts, stops, sizes, WEIGHTS, BIAS, 1)
    wanted = [plain.scores(text or "", *sizes, WEIGHTS, BIAS) for text in rows[skipped:]]
    assert found == pytest.approx(np.reshape(wanted, found.shape), abs=1e-4)
    for text, each in zip(rows[skipped:], worst, strict=True):
        # A word alone, spelt as it was read, so that it is read as it is.
        alone = [
            plain.scores_of_word(word, *sizes, WEIGHTS, BIAS) for word in plain.words_of(text or "")
        ]
        odds = [np.log(np.exp(s[0] - s[1]) + np.exp(s[2] - s[1])) for s in alone]
        assert each == pytest.approx(max(odds, default=-np.inf), abs=1e-4)


def test_a_word_that_is_met_again_scores_as_it_did():
    # More words than are kept, so that some are thrown out and computed anew in between.
    many = " ".join(f"w{place:x}" for place in range(40_000))
    rows = ["once more", many, "once more"]
    bounds, utf8, _ = text_buffers(pa.array(rows))
    starts, stops = (np.ascontiguousarray(each) for each in (bounds[:-1], bounds[1:]))
    found, _ = scores_of(utf8, starts, stops, SIZES[0], WEIGHTS, BIAS)
    assert found[0].tolist() == found[2].tolist()
    assert found[1] == pytest.approx(plain.scores(many, *SIZES[0], WEIGHTS, BIAS), rel=1e-3)


@pytest.mark.parametrize("sizes", SIZES)
def test_one_pass_is_that_of_plain_adagrad(sizes):
    rows = ["to be or not to be", "not to do", "so be it", "", "do it so", "or not"] * 4
    targets = np.array([0, 1, 2, 0, 1, 2] * 4)
    bounds, utf8, _ = text_buffers(pa.array(rows))
    weights, bias = np.zeros((1 << BITS, LABELS), np.float32), np.zeros(LABELS, np.float32)
    starts, stops = (np.ascontiguousarray(each) for each in (bounds[:-1], bounds[1:]))
    loss = train_epoch(
        utf8,
        starts,
        stops,
        np.arange(len(rows)),
        targets,
        folds(),
        *sizes,
        shift_of(1 << BITS),
        np.float32(0.3),
        np.float32(1e-3),
        weights,
        bias,
        np.zeros(1 << BITS, np.float32),
        np.zeros(LABELS, np.float32),
        np.empty(1000, np.int64),
        np.empty(1000, np.float32),
    )
    read = [plain.features(text, *sizes, BITS) for text in rows]
    wanted, wanted_bias, wanted_loss = plain.adagrad(read, targets, LABELS, BITS, 0.3, 1e-3)
    assert weights == pytest.approx(np.array(wanted), abs=1e-3)
    assert bias == pytest.approx(np.array(wanted_bias), abs=1e-3)
    assert loss == pytest.approx(wanted_loss, abs=1e-4)


@settings(deadline=None)
@given(
    st.lists(st.text(alphabet="aé \n\t", max_size=30), max_size=5),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 6),
)
def test_windows_hold_every_word_once_and_end_where_they_should(
    rows, words, line_words, whole_words
):
    bounds, utf8, _ = text_buffers(pa.array(rows, pa.string()))
    room = int(bounds[-1]) // (2 * min(words, line_words)) + len(bounds)  # as much as is needed
    starts, stops, places, lines = np.empty((4, room), np.int64)
    count = cut_windows(utf8, bounds, words, line_words, whole_words, starts, stops, places, lines)
    found = [
        (int(places[i]), int(lines[i]), utf8[starts[i] : stops[i]].tobytes().decode().split())
        for i in range(count)
    ]
    wanted = []
    for row, text in enumerate(rows):
        window: list[str] = []
        if 0 < len(text.split()) <= whole_words:
            before = text[: len(text) - len(text.lstrip())]
            wanted.append((row, before.count("\n"), text.split()))
            continue
        for number, line in enumerate(text.split("\n")):
            for word in line.split():
                first = first if window else number  # noqa: F821  (set with the first word)
                window = [*window, word]
                if len(window) == words:
                    wanted.append((row, first, window))
                    window = []
            if len(window) >= line_words:
                wanted.append((row, first, window))
                window = []
        wanted += [(row, first, window)] if window else []
    assert found == wanted
