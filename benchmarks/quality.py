"""How fast the learned filters and the rules on form are, and what they tell apart.

    python benchmarks/quality.py --trusted BOOKS.jsonl.gz --clean BROWN.jsonl.gz \
        --markup PAGES.jsonl.gz --page-field html

`--trusted` is what the n-gram model and the classifier are trained on; `--clean` is other prose,
which neither has seen. Against the clean documents stand five kinds of bad ones: their own words in
another order, their lines in capitals with a price list between, pages of HTML as they come, their
words with one in five a keyword, and random letters. For each the area under the ROC curve, beside
what two plain figures reach: the length, and the fraction of stop words.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from volano.core.jsonlines import BadLine, read_records
from volano.curate.quality_section import QualitySection
from volano.stats.detection import roc_auc
from volano.text.classify import column_of, train
from volano.text.kernels import warm_up
from volano.text.kernels.forms import FORM_STATISTICS, measure_forms
from volano.text.word_model import NgramTraining, train_words

DOCUMENT_WORDS = 400  # a document is a stretch of so many words, so that length tells nothing
DOCUMENTS = 500


def texts_of(path: str, field: str = "text") -> list[str]:
    """The texts of a file."""

    def record_of(values: dict[str, Any], where: str) -> str:
        if not isinstance(values.get(field), str):
            raise BadLine(f"no text in '{field}'")
        return str(values[field])

    return read_records([Path(path)], record_of)[0]


def pieces(texts: Sequence[str], count: int) -> list[str]:
    """Stretches of whole lines of at least DOCUMENT_WORDS words, spread over the texts."""
    found: list[str] = []
    for text in texts:
        lines: list[str] = []
        words = 0
        for line in text.split("\n"):
            lines.append(line)
            words += len(line.split())
            if words >= DOCUMENT_WORDS:
                found.append("\n".join(lines))
                lines, words = [], 0
    return random.Random(0).sample(found, min(count, len(found)))


def shuffled(text: str, draw: random.Random) -> str:
    """The words of each line in another order."""
    lines = [line.split() for line in text.split("\n")]
    for line in lines:
        draw.shuffle(line)
    return "\n".join(" ".join(line) for line in lines)


def listed(text: str, draw: random.Random) -> str:
    """Scraps of lines with prices between."""
    words = text.split()
    lines = [" ".join(words[place : place + 4]).upper() for place in range(0, len(words), 4)]
    return "\n".join(f"{line} ${draw.randint(1, 99)}.{draw.randint(0, 99):02}" for line in lines)


def stuffed(text: str, draw: random.Random) -> str:
    """The text with every fifth word a keyword."""
    words = text.split(" ")
    return " ".join("insurance" if place % 5 == 4 else word for place, word in enumerate(words))


def mashed(text: str, draw: random.Random) -> str:
    """Random letters in words as long as those of the text."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return " ".join("".join(draw.choices(letters, k=len(word))) for word in text.split())


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("trusted", "clean", "markup"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--page-field", default="html")
    options = parser.parse_args()
    warm_up()
    trusted, clean = texts_of(options.trusted), texts_of(options.clean)
    good = pieces(clean, DOCUMENTS)
    pages = pieces(texts_of(options.markup, options.page_field), DOCUMENTS)
    draw = random.Random(1)
    kinds = {
        name: [make(text, draw) for text in good]
        for name, make in (
            ("words in another order", shuffled),
            ("scraps with prices", listed),
            ("stuffed with a keyword", stuffed),
            ("random letters", mashed),
        )
    } | {"HTML as it comes": pages}
    figures = scorers(trusted)
    print(f"{len(good)} clean documents; area under the ROC curve against as many of each kind:")
    rows = [["figure", *kinds]]
    for name, score in figures.items():
        clean_scores = score(good)
        row = [name]
        for bad in kinds.values():
            both = np.concatenate([clean_scores, score(bad)])
            truth = np.arange(len(both)) < len(clean_scores)
            row.append(f"{roc_auc(both, truth):.3f}")
        rows.append(row)
    table(rows)
    dropped_by_rules(good, kinds)
    speed(figures, clean)


def scorers(trusted: Sequence[str]) -> dict[str, Callable[[Sequence[str]], Any]]:
    """Name → a function that gives a score to each text, higher for better ones."""
    found: dict[str, Callable[[Sequence[str]], Any]] = {
        "length in bytes": lambda texts: np.array([len(text.encode()) for text in texts]),
        "fraction of stop words": lambda texts: (
            measure_forms(column_of(texts), ["sentences"])
            .tables["sentences"]["stop_word_fraction"]
            .to_numpy()
        ),
    }
    for order in (1, 2, 3, 5):
        started = time.monotonic()
        model = train_words([column_of(trusted)], NgramTraining(order))
        size = sum(len(text.encode()) for text in trusted) / 1e6
        seconds = time.monotonic() - started
        grams = sum(len(each.log_prob) for each in model.grams)
        print(f"order {order}: {grams:,} n-grams of {size:.1f} MB in {seconds:.1f} s")
        found[f"perplexity, order {order}"] = lambda texts, model=model: (
            -np.nan_to_num(
                model.perplexities(column_of(texts)).to_numpy(zero_copy_only=False), nan=1e9
            )
        )
    # Negatives of three of the kinds, made from the trusted text itself, never from the clean one.
    positives = pieces(trusted, 2000)
    draw = random.Random(2)
    makers = (shuffled, listed, stuffed)
    negatives = [makers[place % 3](text, draw) for place, text in enumerate(positives)]
    labels = ["good"] * len(positives) + ["bad"] * len(negatives)
    started = time.monotonic()
    classifier = train(column_of(positives + negatives), labels).classifier
    print(f"classifier: {len(labels):,} rows in {time.monotonic() - started:.1f} s")
    found["classifier (three of the kinds seen)"] = lambda texts: classifier.probabilities(
        column_of(texts)
    )[:, classifier.labels.index("good")]
    return found


def dropped_by_rules(good: Sequence[str], kinds: dict[str, list[str]]) -> None:
    """What each set of rules drops at its default bounds."""
    print("\nDropped by each set of rules at its default bounds:")
    rows = [["rules", "clean", *kinds]]
    section = QualitySection()
    for rule in FORM_STATISTICS:
        row = [rule]
        for texts in (good, *kinds.values()):
            found = measure_forms(pa.array(texts, pa.large_string()), [rule]).tables[rule]
            beyond = np.zeros(len(texts), bool)
            for name, bound in getattr(section, rule).identity().items():
                side, _, statistic = name.partition("_")
                if side in ("min", "max") and statistic in found.column_names:
                    values = found[statistic].to_numpy()
                    beyond |= (values < bound) if side == "min" else (values > bound)
            row.append(f"{beyond.mean():.1%}")
        rows.append(row)
    table(rows)


def speed(figures: dict[str, Callable[[Sequence[str]], Any]], texts: Sequence[str]) -> None:
    """Megabytes of UTF-8 a second on one thread, the best of three."""
    print("\nMB of text a second on one thread:")
    column = column_of(list(texts))
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    rows = [["what", "MB/s"]]
    for rule in FORM_STATISTICS:
        seconds = best(lambda rule=rule: measure_forms(column, [rule]))
        rows.append([f"rules {rule}", f"{megabytes / seconds:.0f}"])
    for name, score in figures.items():
        if "perplexity" in name or "classifier" in name:
            rows.append([name, f"{megabytes / best(lambda score=score: score(texts)):.1f}"])
    table(rows)


def best(work: Callable[[], Any]) -> float:
    """The shortest of three times."""
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        work()
        seconds.append(time.monotonic() - started)
    return min(seconds)


def table(rows: Sequence[Sequence[str]]) -> None:
    """Rows as Markdown."""
    head, *others = rows
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in others:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
