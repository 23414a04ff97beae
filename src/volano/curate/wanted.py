"""A classifier of wanted documents, learnt from the collected ones that are known to be good.

DCLM's way (Li et al. 2024, section 4.4) within a recipe: some kinds or sources are trusted, all
others are ordinary, and a linear classifier learns to tell them apart. Curation then keeps the
documents that look most like the trusted ones, whatever kind they are of.
"""

import heapq
from collections.abc import Iterator

from volano.core.corpus import Corpus, read_shard
from volano.core.errors import DataError, did_you_mean
from volano.core.files import json_digest, write_json
from volano.core.mixture import TRAIN
from volano.core.step import Context, Inputs
from volano.curate.learned_section import LearnSection
from volano.text.classifier_file import save_classifier
from volano.text.classify import Pass, Training, column_of, train

WANTED, ORDINARY = "wanted", "ordinary"
WEIGHTS_FILE, CURVE_FILE = "classifier.safetensors", "curve.json"
LEAST = 20  # documents of a label, of which some judge


def learn_wanted(section: LearnSection, inputs: Inputs, context: Context) -> None:
    """Write the weights and how they were learnt. Raises DataError where either side has hardly any
    document."""
    corpus = inputs["documents"].corpus()
    _check_names(section, corpus)
    drawn: dict[str, list[tuple[int, str]]] = {WANTED: [], ORDINARY: []}
    for label, identity, text in _labelled(section, corpus):
        # The documents whose hashes come first: the same ones whatever else is there.
        item = (-int(json_digest(identity)[:16], 16), text)
        add = heapq.heappush if len(drawn[label]) < section.documents else heapq.heappushpop
        add(drawn[label], item)
    for label, rows in drawn.items():
        if len(rows) < LEAST:
            raise DataError(
                f"{len(rows)} {label} training documents to learn from",
                "curate.classifier.learn",
                "Name other kinds or sources.",
            )
    texts = [text for label in drawn for _, text in sorted(drawn[label], reverse=True)]
    labels = [label for label, rows in drawn.items() for _ in rows]
    training = Training(seed=0)
    with context.progress("learn what is wanted", training.epochs, "passes at most") as bar:

        def said(each: Pass) -> None:
            bar.note(f"loss {each.validation_loss:.3f}")
            bar.advance()

        made = train(column_of(texts), labels, training=training, say=said)
    save_classifier(made.classifier, context.folder / WEIGHTS_FILE)
    write_json(context.folder / CURVE_FILE, [each._asdict() for each in made.curve])
    context.bill |= {f"documents.{label}": len(rows) for label, rows in drawn.items()}


def _labelled(section: LearnSection, corpus: Corpus) -> Iterator[tuple[str, str, str]]:
    for path in corpus.shards():
        table = read_shard(path, ["id", "text", "kind", "source", "split"])
        for row in table.to_pylist():
            if row["split"] == TRAIN:
                wanted = row["kind"] in section.kinds or row["source"] in section.sources
                yield WANTED if wanted else ORDINARY, row["id"], row["text"]


def _check_names(section: LearnSection, corpus: Corpus) -> None:
    for what in ("kinds", "sources"):
        for name in getattr(section, what):
            if name not in corpus.manifest[what]:
                raise DataError(
                    f"no document of {what[:-1]} '{name}'",
                    f"curate.classifier.learn.{what}",
                    did_you_mean(name, corpus.manifest[what]),
                )
