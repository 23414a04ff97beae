"""Which questions ask nearly the same: one kept for judging must not be learnt in other words.

Questions are short and many share a form ("Summarise the following text: …"), so words that every
fifth of them has say nothing and do not count. What is left is compared as a set.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import pyarrow as pa

from volano.core.records import Message

WORD = re.compile(r"\w+")
COMMON_FRACTION, COMMON_QUESTIONS = 0.2, 4  # a word in more than both says nothing
MIN_SIMILARITY = 0.7  # one word more or less among three is near, one for another among four is not
PLACES, BANDS = 128, 32  # of 1,000 pairs as alike as that, none is missed


def words_of(text: str) -> list[str]:
    """Its runs of letters and digits of any script, in lower case."""
    return WORD.findall(text.lower())


def near_question_groups(questions: Sequence[str]) -> list[int]:
    """For each question the place of the first that asks nearly the same, its own where none does.

    Nearly the same: of the distinct words (case does not count) that are not common, both have the
    share MIN_SIMILARITY of those that either has, estimated by MinHash; questions of common words
    alone have to be equal in all their words. A question without words stands alone.
    """
    from volano.text.kernels.minhash import minhash_signatures
    from volano.text.near import near_duplicate_roots

    names = [" ".join(words_of(question)) for question in questions]
    firsts = {name: place for place, name in reversed(list(enumerate(names)))}
    distinct = sorted(firsts.values())
    words = [names[place].split() for place in distinct]
    frequency = Counter(word for each in words for word in set(each))
    most = max(COMMON_QUESTIONS, COMMON_FRACTION * len(words))
    telling = [{word for word in each if frequency[word] <= most} for each in words]
    texts = [
        # Joined to one word, what has nothing telling is alike only where it is the same.
        " ".join(sorted(kept)) if kept else "".join(each)
        for kept, each in zip(telling, words, strict=True)
    ]
    signatures = minhash_signatures(
        pa.array(texts, pa.large_string()), permutations=PLACES, shingle_words=1
    )
    roots = near_duplicate_roots(signatures, bands=BANDS, min_similarity=MIN_SIMILARITY)
    group = {names[own]: distinct[root] for own, root in zip(distinct, roots, strict=True)}
    return [group[name] if name else place for place, name in enumerate(names)]


def ask_one_of(conversations: Sequence[Sequence[str]], held_out: Sequence[str]) -> list[bool]:
    """For each conversation, as its questions, whether one asks nearly the same as one held out."""
    owners = [place for place, questions in enumerate(conversations) for _ in questions]
    asked = [question for questions in conversations for question in questions]
    groups = near_question_groups([*held_out, *asked])
    kept = set(groups[: len(held_out)])
    asking = {
        owner for owner, group in zip(owners, groups[len(held_out) :], strict=True) if group in kept
    }
    return [place in asking for place in range(len(conversations))]


def questions_of(messages: Iterable[Message]) -> list[str]:
    """What the user says in them, in order."""
    return [each.content for each in messages if each.role == "user"]
