#!/usr/bin/env python3
"""Makes src/volano/curate/data/toxicity.safetensors, the weights of `curate.toxicity`.

    .venv/bin/python scripts/train_toxicity.py labeled_data.csv vader_lexicon.txt prose.jsonl

Files may be compressed (.gz). The first is the data of Davidson et al. 2017, whose labels are
learnt. Its tweets were all found by words of a hate lexicon, so of other insults, and of plain
prose, a classifier would learn nothing. The other two mend that: words of strong sentiment, bad
ones as offensive and good ones as neither (the VADER lexicon of Hutto and Gilbert 2014), and
passages of prose as neither (chapters of Standard Ebooks; JSON Lines with a field `text`).

Equal files give equal bytes. A fifth of the tweets is learnt from by nobody: rows_for_test tells
benchmarks/toxicity.py which. docs/toxicity.md is the card of what comes out.
"""

import argparse
import csv
import gzip
import hashlib
import html
import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from volano.curate.toxicity import summed_log_odds
from volano.text.classifier_file import save_classifier
from volano.text.classify import (
    SIDES,
    Pass,
    Trained,
    Training,
    column_of,
    scale_and_shift,
    split_by_hash,
    train,
)

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "src/volano/curate/data/toxicity.safetensors"
LABELS = ("hate", "offensive", "neither")  # classes 0, 1 and 2 of the data
TEST_FRACTION, VALIDATION_FRACTION = 0.2, 0.1
STRONG, GOOD = -2.0, 0.5  # mean valence of a word in the lexicon, from -4 to 4
# More of both, and other sets of hate are told better and the tweets worse (docs/log.md).
REPEATS = 2  # of a word, which is a short text
PROSE_ROWS, PROSE_WORDS = 4_000, 25
TRAINING = Training(words=1, learning_rate=0.1, epochs=30)  # pairs of words made it no better
SEED = 0
LONGEST = 10_000  # words, of any text here


def main() -> None:
    """Train, say how it went, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tweets", type=Path, help="labeled_data.csv of Davidson et al. 2017")
    parser.add_argument("lexicon", type=Path, help="vader_lexicon.txt")
    parser.add_argument("prose", type=Path, help="JSON Lines with a field `text`")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    texts, labels = tweets_of(options.tweets)
    tweets = len(texts)
    for more in (words_of(options.lexicon), passages_of(options.prose)):
        texts += more[0]
        labels += more[1]
    column = column_of(texts)
    sides = split_by_hash(column, VALIDATION_FRACTION, TEST_FRACTION)
    sides[tweets:][sides[tweets:] == SIDES.index("test")] = SIDES.index("train")
    made = train(column, labels, training=TRAINING, sides=sides, say=say)
    sources = {
        path.name.removesuffix(".gz"): hashlib.sha256(read(path)).hexdigest()
        for path in (options.tweets, options.lexicon, options.prose)
    }
    made.classifier.about["sha256_of_sources"] = sources
    made.classifier.about["with_worst_word"] = with_worst_word(made, column, labels)
    save_classifier(made.classifier, options.out)
    digest = hashlib.sha256(options.out.read_bytes()).hexdigest()
    print(f"{options.out}: {options.out.stat().st_size:,} bytes, sha256 {digest}")
    print(json.dumps(made.classifier.about["rows_of_label"]))


def with_worst_word(
    made: Trained, column: pa.LargeStringArray, labels: list[str]
) -> dict[str, float]:
    """How a passage and its worst word are added up, from the rows that calibrate the rest."""
    rows = np.flatnonzero(made.sides == SIDES.index("validation"))
    # Each of these texts is one passage, lines and all.
    windows = made.classifier.windows(
        column.take(rows), words=LONGEST, line_words=LONGEST, neutral="neither"
    )
    log_odds = summed_log_odds(windows, made.classifier.labels.index("neither"))
    toxic = np.array([labels[rows[row]] != "neither" for row in windows.rows]).astype(int)
    scale, shifts = scale_and_shift(np.stack([np.zeros(len(toxic)), log_odds], axis=1), toxic)
    return {"scale": round(scale, 6), "shift": round(float(shifts[1] - shifts[0]), 6)}


def say(each: Pass) -> None:
    """One line for one pass."""
    losses = f"training loss {each.training_loss:.4f}, validation loss {each.validation_loss:.4f}"
    print(f"pass {each.epoch}: {losses}", file=sys.stderr)


def read(path: Path) -> bytes:
    """The bytes of a file, unpacked."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def tweets_of(path: Path) -> tuple[list[str], list[str]]:
    """Tweets, with HTML's escapes read, and their labels by majority of the annotators."""
    rows = list(csv.DictReader(io.StringIO(read(path).decode("utf-8"), newline="")))
    return [html.unescape(row["tweet"]) for row in rows], [
        LABELS[int(row["class"])] for row in rows
    ]


def rows_for_test(texts: list[str]) -> list[int]:
    """Which rows of the tweets nothing was learnt from."""
    sides = split_by_hash(column_of(texts), VALIDATION_FRACTION, TEST_FRACTION)
    return [int(row) for row in np.flatnonzero(sides == SIDES.index("test"))]


def words_of(path: Path) -> tuple[list[str], list[str]]:
    """Words of strong sentiment, as offensive or neither."""
    texts, labels = [], []
    for line in read(path).decode("utf-8").splitlines():
        word, valence = line.split("\t")[:2]
        if word.isalpha() and (float(valence) <= STRONG or float(valence) >= GOOD):
            texts += [word] * REPEATS
            labels += ["offensive" if float(valence) < 0 else "neither"] * REPEATS
    return texts, labels


def passages_of(path: Path) -> tuple[list[str], list[str]]:
    """Passages of prose, drawn from all of it, as neither."""
    passages = []
    for line in read(path).decode("utf-8").split("\n"):
        words = json.loads(line)["text"].split() if line else []
        passages += [
            words[start : start + PROSE_WORDS] for start in range(0, len(words), PROSE_WORDS)
        ]
    drawn = np.random.default_rng(SEED).permutation(len(passages))[:PROSE_ROWS]
    return [" ".join(passages[place]) for place in drawn], ["neither"] * len(drawn)


if __name__ == "__main__":
    main()
