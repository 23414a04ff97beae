"""The card says of the weights what is in them, and what they do on the tweets kept from them."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from volano.curate.section import ToxicitySection
from volano.curate.toxicity import DATA, measure_toxicity
from volano.stats.detection import calibration_error, roc_auc
from volano.text.classifier_file import load_classifier
from volano.text.classify import column_of

CARD = "docs/toxicity.md"
DAVIDSON = os.environ.get("VOLANO_DAVIDSON_2017", "")  # labeled_data.csv, also .gz


@pytest.fixture(scope="module")
def classifier():
    return load_classifier(DATA / "toxicity.safetensors")


def test_the_card_tells_size_labels_and_rows_of_the_weights(root, classifier):
    card = (root / CARD).read_text("utf-8")
    size = (DATA / "toxicity.safetensors").stat().st_size
    assert f"{size / 1e6:.1f} MB" in card
    assert f"2^{classifier.about['training']['bucket_bits']} weights" in card
    assert f"{classifier.about['rows_of_label']['hate']:,} tweets" in card


def test_the_script_in_this_tree_is_the_one_that_made_them(root, classifier, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(root / "scripts")])
    import train_toxicity

    assert classifier.about["training"] == vars(train_toxicity.TRAINING)


@pytest.mark.skipif(not Path(DAVIDSON).is_file(), reason="VOLANO_DAVIDSON_2017 names no file")
def test_the_figures_of_the_held_out_tweets_are_those_of_the_card(root, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(root / "scripts")])
    from train_toxicity import rows_for_test, tweets_of

    texts, labels = tweets_of(Path(DAVIDSON))
    rows = rows_for_test(texts)
    toxic = np.array([labels[row] != "neither" for row in rows])
    column = column_of([texts[row] for row in rows])
    found = (
        measure_toxicity(column, [""] * len(rows), ToxicitySection()).columns["toxic"].to_numpy()
    )
    card = (root / CARD).read_text("utf-8")
    printed = re.search(r"held out \| ([\d,]+) \| ([\d.]+) \|", card)
    assert printed is not None
    assert printed.groups() == (f"{len(rows):,}", f"{roc_auc(found, toxic):.3f}")
    assert f"{calibration_error(found, toxic):.3f} on the held-out tweets" in card
