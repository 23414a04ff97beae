import unicodedata

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from volano.text.kernels.scripts import NAMES, SCRIPTS, letters_by_script

# Places that no character has yet count as ideographs where only these can come.
CHARACTERS = st.characters(exclude_categories=["Cn", "Cs"])
TEXTS = st.lists(st.none() | st.text(CHARACTERS, max_size=30), max_size=5)


def plain_counts(text, characters):
    counts = dict.fromkeys(NAMES, 0)
    for character in (text or "")[:characters]:
        words = unicodedata.name(character, "").split()
        if character.isalpha() and ord(character) < 0x32400:
            wide = words[:1] in (["FULLWIDTH"], ["HALFWIDTH"])
            counts[SCRIPTS.get("".join(words[wide : wide + 1]), NAMES[0])] += 1
    return list(counts.values())


@given(TEXTS, st.none() | st.integers(0, 20))
def test_letters_are_counted_as_their_unicode_names_say(texts, characters):
    found = letters_by_script(pa.array(texts, pa.large_string()), characters)
    expected = [plain_counts(text, characters) for text in texts]
    np.testing.assert_array_equal(found, np.array(expected).reshape(len(texts), len(NAMES)))
