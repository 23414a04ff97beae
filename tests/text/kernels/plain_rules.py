"""The statistics of the quality rules in plain Python: slow, sharing no code with the kernels."""

import re
import unicodedata
from collections import Counter

from volano.text.english import data, english_words

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")


def characters(name):
    """The characters of a class of english.json."""
    found = set()
    for each in data()["classes"][name].split():
        first, _, last = each.partition("-")
        found |= {chr(code) for code in range(int(first, 16), int(last or first, 16) + 1)}
    return found


SYMBOLS, TERMINAL, ENDS = (characters(name) for name in ("symbol", "terminal", "sentence_end"))


def words_of(text, words):
    return english_words(text) if words == "english" else text.split()


def gopher_quality(text, words):
    found = words_of(text, words)
    if not found:
        return [0] * 8
    spoken = [word for word in found if any(each not in SYMBOLS for each in word)]
    lines = text.splitlines()
    return [
        len(spoken),
        sum(map(len, spoken)) / max(len(spoken), 1),
        text.count("#") / len(found),
        (text.count("...") + text.count("…")) / len(found),
        sum(line.lstrip().startswith(("•", "-")) for line in lines) / len(lines),
        sum(line.rstrip().endswith(("...", "…")) for line in lines) / len(lines),
        sum(any(each.isalpha() for each in word) for word in found) / len(found),
        len(STOP_WORDS & set(found)),
    ]


def gopher_repetition(text, words, fewest=1):
    if not text:
        return [0.0] * 13
    fractions, copied = [], []
    for pieces in (re.split(r"\n+", text), re.split(r"\n{2,}", text.strip())):
        copies = [piece for place, piece in enumerate(pieces) if piece in pieces[:place]]
        fractions.append(len(copies) / len(pieces))
        copied.append(sum(map(len, copies)) / len(text))
    found = words_of(text, words)
    tops = [min(top_gram(found, n, fewest) / len(text), 1.0) for n in (2, 3, 4)]
    rest = [min(copied_grams(found, n) / len(text), 1.0) for n in range(5, 11)]
    return [*fractions, *copied, *tops, *rest]


def top_gram(words, n, fewest):
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    if not grams:
        return 0
    gram, count = Counter(grams).most_common(1)[0]
    return count * len(" ".join(gram)) if count >= fewest else 0


def copied_grams(words, n):
    seen, copied, place = set(), 0, 0
    while place <= len(words) - n:
        gram = tuple(words[place : place + n])
        if gram in seen:
            copied += len("".join(gram))
            place += n
        else:
            seen.add(gram)
            place += 1
    return copied


def fineweb(text, words):
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return [0.0] * 4
    copies = [line for place, line in enumerate(lines) if line in lines[:place]]
    return [
        sum(line[-1] in TERMINAL for line in lines) / len(lines),
        sum(len(line) <= 30 for line in lines) / len(lines),
        sum(map(len, copies)) / len(text.replace("\n", "")),
        text.count("\n") / len(words_of(text, words)),
    ]


def c4(text, words):
    """The statistics, and the text that stays (None where reading ended)."""
    values = dict.fromkeys(
        ("sentences", "lines", "long", "open", "few", "javascript", "policy", "lorem", "curly"), 0
    )
    kept = []
    for line in text.splitlines():
        values["lines"] += 1
        line = line.strip()
        runs = line.split()
        if any(len(run) > 1000 for run in runs):
            values["long"] += 1
            continue
        line = CITATION.sub("", line)
        lower = line.lower()
        if not line.endswith((".", "?", "!", '"', "'")) or line.endswith("..."):
            values["open"] += 1
        elif len(runs) < 3:
            values["few"] += 1
        elif "lorem ipsum" in lower:
            values["lorem"] = 1
            return list(values.values()), None
        elif "javascript" in lower:
            values["javascript"] += 1
        elif "{" in line:
            values["curly"] = 1
            return list(values.values()), None
        elif any(policy in lower for policy in POLICIES):
            values["policy"] += 1
        else:
            values["sentences"] += sentences(line, words)
            kept.append(line)
    return list(values.values()), "\n".join(kept).strip()


def sentences(line, words):
    """spaCy's sentencizer, on words with the white space between them that is more than a blank."""
    tokens = []
    for part in re.findall(r"\s+|\S+", line):
        if part[0].isspace():
            tokens += [part.removeprefix(" ")] if tokens else [part]
        else:
            tokens += words_of(part, words)
    count, ended = 1, False
    for token in filter(None, tokens):
        if token in ENDS:
            ended = True
        elif ended and not all(unicodedata.category(each)[0] == "P" for each in token):
            count += 1
            ended = False
    return count
