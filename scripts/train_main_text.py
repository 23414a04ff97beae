#!/usr/bin/env python3
"""Trains the trees by which text.main_text knows main text, and measures them on other sites.

    python scripts/train_main_text.py PAGES.jsonl.gz …     # needs volano[train] and trafilatura

Two kinds of rows, both with `url` and `html`: `gold` (the whole main text, as in the article
extraction benchmark of Zyte) or `with` and `without` (sentences that must and must not be kept, as
in the evaluation set of trafilatura). Of the second kind trafilatura says what the set does not:
its output labels the other blocks, at half the weight. Sites are parted by hash: two thirds train,
one third is measured here and by benchmarks/main_text.py, and never trained on.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from volano.text.kernels.html import scan_page
from volano.text.kernels.html_blocks import FEATURES, block_features
from volano.text.kernels.trees import LEAF, Trees, probabilities
from volano.text.main_text import MODEL, block_texts

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
from main_text import covered, is_measured, read_pages, score, words

TARGET = Path(__file__).resolve().parent.parent / "src/volano/text/data" / MODEL
TEACHER_WEIGHT, GOLD_WEIGHT, STATED_WEIGHT = 0.5, 1.5, 6.0
FOLDS = 4
AS_GOOD = 0.001
THRESHOLDS = np.arange(0.3, 0.71, 0.05)


@dataclass
class Rows:
    """The blocks of one page: numbers, whether each is main text, and how much that counts."""

    page: dict[str, Any]
    texts: list[str]
    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def main() -> None:
    """Train, choose the threshold by folds of the training sites, measure, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path)
    pages = [rows_of(page) for page in read_pages(parser.parse_args().files)]
    training = [rows for rows in pages if not is_measured(rows.page["url"])]
    print(f"{len(training)} pages to train on, {len(pages) - len(training)} to measure")
    folds = [int(place) % FOLDS for place in np.random.default_rng(1).permutation(len(training))]
    likely: list[np.ndarray] = [np.zeros(0)] * len(training)
    for fold in range(FOLDS):
        trees = fit([rows for rows, its in zip(training, folds, strict=True) if its != fold])
        for place, its in enumerate(folds):
            if its == fold:
                likely[place] = probabilities(trees, training[place].features)
    by_threshold = {
        float(round(bound, 2)): f1(training, likely, float(bound)) for bound in THRESHOLDS
    }
    # Of those as good as the best the lowest: filters can still drop text, none brings it back.
    good = max(by_threshold.values()) - AS_GOOD
    threshold = min(bound for bound, its in by_threshold.items() if its >= good)
    print(f"mean F1 over folds of the training sites by threshold: {by_threshold}")
    trees = fit(training)
    described = {"features": " ".join(FEATURES), "threshold": str(threshold)}
    save_file(trees._asdict(), TARGET, metadata=described)
    measured = [rows for rows in pages if is_measured(rows.page["url"])]
    found = [probabilities(trees, rows.features) for rows in measured]
    print(f"mean F1 on the other sites: {f1(measured, found, threshold):.4f}")
    print(f"{TARGET}: {len(trees.roots)} trees, {TARGET.stat().st_size:,} bytes")


def rows_of(page: dict[str, Any]) -> Rows:
    """Labels each block by the words that it shares with what is known of the page."""
    import trafilatura

    scanned = scan_page(np.frombuffer(page["html"].encode("utf-8", "replace"), np.uint8))
    texts = block_texts(scanned)
    whole = page.get("gold")
    known = (
        whole
        if whole is not None
        else trafilatura.extract(page["html"], fast=True, include_comments=False)
    )
    labels = np.array([covered(text, known or "") >= 0.5 for text in texts], np.int64)
    weights = np.sqrt([len(words(text)) + 1.0 for text in texts])
    weights *= GOLD_WEIGHT if whole is not None else TEACHER_WEIGHT
    for kept, named in ((1, "with"), (0, "without")):
        for place, text in enumerate(texts):
            if any(sentence in text for sentence in page.get(named, [])):
                labels[place] = kept
                weights[place] = max(2 * weights[place], STATED_WEIGHT)
    return Rows(page, texts, block_features(scanned), labels, weights)


def fit(pages: Sequence[Rows]) -> Trees:
    """Boosted trees by scikit-learn, as plain arrays."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=100, max_leaf_nodes=16, learning_rate=0.12, l2_regularization=5.0,
        min_samples_leaf=30, max_features=0.4, early_stopping=False, random_state=1,
    ).fit(
        np.concatenate([rows.features for rows in pages]),
        np.concatenate([rows.labels for rows in pages]),
        np.concatenate([rows.weights for rows in pages]),
    )  # fmt: skip
    roots: list[int] = []
    nodes: list[tuple[int, float, int]] = []
    for (predictor,) in model._predictors:
        roots.append(len(nodes))
        flatten(predictor.nodes, 0, nodes)
    return Trees(
        np.array(roots, np.int32),
        np.array([node[0] for node in nodes], np.int16),
        np.array([node[1] for node in nodes], np.float32),
        np.array([node[2] for node in nodes], np.int32),
        np.array(model._baseline_prediction.ravel(), np.float32),
    )


def flatten(tree: np.ndarray, place: int, nodes: list[tuple[int, float, int]]) -> None:
    """Append a node, what is on its left and then what is on its right."""
    node, row = tree[place], len(nodes)
    if node["is_leaf"]:
        nodes.append((LEAF, float(node["value"]), 0))
        return
    nodes.append((0, 0.0, 0))
    flatten(tree, int(node["left"]), nodes)
    nodes[row] = (int(node["feature_idx"]), float(node["num_threshold"]), len(nodes))
    flatten(tree, int(node["right"]), nodes)


def f1(pages: Sequence[Rows], likely: Sequence[np.ndarray], threshold: float) -> float:
    """The mean of the F1 of both kinds of rows."""
    texts = [
        "\n".join(
            text for text, number in zip(rows.texts, found, strict=True) if number >= threshold
        )
        for rows, found in zip(pages, likely, strict=True)
    ]
    found = score([rows.page for rows in pages], texts)
    return round(float(np.mean([row["f1"] for row in found.values()])), 4)


if __name__ == "__main__":
    main()
