import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save

from volano.core.errors import DataError
from volano.stats.detection import calibration_error
from volano.text.classifier_file import KEY, load_classifier, save_classifier
from volano.text.classify import (
    SIDES,
    Classifier,
    Training,
    calibrated,
    column_of,
    log_loss,
    split_by_hash,
    train,
)
from volano.text.kernels.hashed import Sizes

SMALL = Training(bucket_bits=12, epochs=8)
WORDS = {
    "sea": ["wave", "boat", "sail", "tide", "shore", "gull", "anchor", "salt", "harbour"],
    "hill": ["rock", "path", "peak", "snow", "goat", "valley", "cairn", "ridge", "meadow"],
    "town": ["street", "tram", "shop", "square", "tower", "market", "bridge", "lamp", "crowd"],
}


def rows_of(count, *, mixed, seed=0):
    """Texts of ten words, each of which is from another label's list with probability `mixed`."""
    draw = np.random.default_rng(seed)
    labels = [list(WORDS)[place] for place in draw.integers(0, 3, count)]
    texts = []
    for label in labels:
        names = [draw.choice(list(WORDS)) if draw.random() < mixed else label for _ in range(10)]
        texts.append(" ".join(str(draw.choice(WORDS[name])) for name in names))
    return texts, labels


@pytest.fixture(scope="module")
def trained():
    texts, labels = rows_of(3000, mixed=0.6)
    found = train(column_of(texts), labels, training=SMALL, test_fraction=0.3)
    return texts, np.array(labels), found


def test_it_learns_what_can_be_learnt_and_its_probabilities_mean_what_they_say(trained):
    texts, labels, found = trained
    test = found.sides == SIDES.index("test")
    probabilities = found.classifier.probabilities(column_of(texts))[test]
    truth = labels[test][:, None] == np.array(found.classifier.labels)
    # The best rule there is counts the words of each list.
    counts = [
        [sum(w in WORDS[n] for w in t.split()) for n in found.classifier.labels]
        for t in np.array(texts)[test]
    ]
    best = (np.argmax(counts, 1) == truth.argmax(1)).mean()
    assert (probabilities.argmax(1) == truth.argmax(1)).mean() > best - 0.03
    assert calibration_error(probabilities.ravel(), truth.ravel()) < 0.03


def test_equal_arguments_give_equal_bytes_and_another_seed_gives_others(tmp_path):
    texts, labels = rows_of(300, mixed=0.3)
    files = []
    for place, seed in enumerate((0, 0, 1)):
        training = Training(bucket_bits=8, epochs=3, seed=seed)
        made = train(column_of(texts), labels, training=training, validation_fraction=0.3)
        save_classifier(made.classifier, tmp_path / str(place))
        files.append((tmp_path / str(place)).read_bytes())
    assert files[0] == files[1] != files[2]


def test_the_curve_has_every_pass_and_the_best_is_kept(trained):
    _, _, found = trained
    losses = [each.validation_loss for each in found.curve]
    assert [each.epoch for each in found.curve] == list(range(1, len(losses) + 1))
    assert found.classifier.about["epochs"] == int(np.argmin(losses)) + 1
    assert len(losses) in (SMALL.epochs, found.classifier.about["epochs"] + SMALL.patience)


def test_calibration_mends_scores_that_are_too_sure_and_lean_to_one_label():
    draw = np.random.default_rng(0)
    honest = draw.normal(size=(20_000, 3))
    chance = np.exp(honest) / np.exp(honest).sum(1, keepdims=True)
    targets = (draw.random(len(chance))[:, None] > chance.cumsum(1)).sum(1)
    boastful = Classifier(
        ("a", "b", "c"),
        Sizes(0, 0, 1),
        np.ones((4, 3), np.float32),
        np.array([2, 0, 1], np.float32),
    )
    mended = calibrated(boastful, honest * 4 + boastful.bias, targets)
    scale = float(mended.weights[0, 0])
    assert scale == pytest.approx(1 / 4, rel=0.05)
    shifts = mended.bias - mended.bias.mean()
    assert shifts == pytest.approx([0, 0, 0], abs=0.05)


def test_rows_told_apart_without_a_mistake_can_be_calibrated():
    texts, labels = rows_of(200, mixed=0)
    found = train(column_of(texts), labels, training=SMALL, validation_fraction=0.3)
    assert np.isfinite(found.classifier.weights).all()
    assert found.curve[-1].validation_loss < 0.1


def test_equal_texts_share_a_side_and_the_fractions_are_kept():
    texts = [f"row {place}" for place in range(4000)]
    sides = split_by_hash(column_of(texts), 0.1, 0.2)
    assert (split_by_hash(column_of([f" {text}\n" for text in texts]), 0.1, 0.2) == sides).all()
    assert np.bincount(sides) / 4000 == pytest.approx([0.7, 0.1, 0.2], abs=0.02)


def test_windows_of_a_text_score_as_texts_of_their_own(trained):
    texts, _, found = trained
    joined = column_of([" ".join(texts[:3]), "", "\n".join(texts[3:5])])
    windows = found.classifier.windows(joined, words=10)
    assert windows.rows.tolist() == [0, 0, 0, 2, 2]
    alone = found.classifier.probabilities(column_of(texts[:5]))
    assert windows.probabilities.tolist() == alone.tolist()


def test_what_cannot_be_trained_on_is_told():
    for texts, labels, words in [
        ([], [], "no rows to train on"),
        (["a", "b"], ["x", "x"], "every row has the label 'x'"),
        (["a", "b"], ["x"], "1 labels for 2 texts"),
        (["a", "b"], ["x", "y"], "no row of label"),
    ]:
        with pytest.raises(DataError, match=words):
            train(column_of(texts), labels)


def test_a_file_read_back_scores_as_what_was_written(trained, tmp_path):
    texts, _, found = trained
    path = tmp_path / "weights.safetensors"
    save_classifier(found.classifier, path)
    again = load_classifier(path)
    assert (again.labels, again.sizes) == (found.classifier.labels, found.classifier.sizes)
    assert again.about == json.loads(json.dumps(found.classifier.about))
    column = column_of(texts[:200])
    wanted = found.classifier.probabilities(column)
    assert again.probabilities(column) == pytest.approx(wanted, abs=2e-3)  # float16


def _tensors(buckets, labels):
    return {"weights": np.zeros((buckets, labels), np.float16), "bias": np.zeros(labels)}


def _header():
    sizes = {"fewest_characters": 2, "most_characters": 5, "words": 1}
    about = {"format": 1, "features": 1, "labels": ["a", "b"], "sizes": sizes, "about": {}}
    return json.dumps(about)


def test_files_that_are_no_classifier_are_refused_in_one_line(trained, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_classifier(trained[2].classifier, path)
    whole = path.read_bytes()
    size = struct.unpack("<Q", whole[:8])[0]
    newer = whole[8 : 8 + size].replace(b'\\"format\\": 1', b'\\"format\\": 9')
    for data, words in [
        (whole[:-100], "not readable as safetensors"),
        (whole[:4], "not readable as safetensors"),
        (b"", "not readable as safetensors"),
        (b"some text that is no such file at all", "not readable as safetensors"),
        (save({"weights": np.zeros((2, 2), np.float32)}), "not weights of a classifier"),
        (save({"weights": np.zeros((3, 2), np.float32)}, {KEY: _header()}), "damaged"),
        (save({**_tensors(3, 2), "bias": np.zeros(2)}, {KEY: _header()}), "do not fit"),
        (save({**_tensors(4, 2), "bias": np.zeros(3)}, {KEY: _header()}), "do not fit"),
        (save({**_tensors(4, 2), "bias": np.full(2, np.nan)}, {KEY: _header()}), "do not fit"),
        (save(_tensors(4, 2), {KEY: "[]"}), "damaged"),
        (whole[:8] + newer + whole[8 + size :], "format 9.1, and this reads 1.1"),
    ]:
        path.write_bytes(data)
        with pytest.raises(DataError, match=words) as refused:
            load_classifier(path)
        assert "\n" not in str(refused.value)
    with pytest.raises(DataError, match="no such file"):
        load_classifier(tmp_path / "absent")


def test_log_loss_counted_by_hand():
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]])
    assert log_loss(probabilities, np.array([0, 1])) == pytest.approx(
        -(np.log(0.5) + np.log(0.75)) / 2
    )
