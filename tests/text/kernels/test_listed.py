import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.kernels import plain_ngrams as plain
from volano.text.kernels.listed import count_listed, word_lists

# Few words, so that phrases are met, also one within another; "*" and digits fold.
phrases = st.lists(st.sampled_from(["a", "b", "A1", "c*c", "語"]), max_size=5).map(" ".join)
lists = st.fixed_dictionaries({"one": st.lists(phrases, max_size=5), "two": st.lists(phrases)})
columns = st.lists(st.none() | st.text(max_size=10) | phrases, max_size=6)


@settings(deadline=None)
@given(columns, lists, st.integers(0, 2))
def test_counts_equal_the_plain_reference_on_any_slice(rows, entries, skipped):
    counts, words = count_listed(pa.array(rows, pa.string()).slice(skipped), word_lists(entries))
    for row, text in enumerate(rows[skipped:]):
        found = plain.words_of(text or "")
        assert words[row] == len(found)
        for place, listed in enumerate(entries.values()):
            known = {tuple(plain.words_of(entry)) for entry in listed}
            runs = [
                tuple(found[first : first + size])
                for size in range(1, 5)
                for first in range(len(found) - size + 1)
            ]
            assert counts[row, place] == sum(run in known for run in runs)


def test_a_list_finds_its_words_in_other_spellings():
    counts, words = count_listed(
        pa.array(["The G-Spot, p0rn and pörn.", "porn"]), word_lists({"x": ["g-spot", "porn"]})
    )
    assert counts.tolist() == [[3], [1]]
    assert words.tolist() == [6, 1]
