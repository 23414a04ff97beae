"""A classifier as one safetensors file: two tensors, and in the header what they mean.

All that is not a number lies under one key as JSON, since the format keeps no order among keys, and
equal classifiers shall be equal files.
"""

import json
from pathlib import Path

import numpy as np

from volano.core.errors import DataError
from volano.core.files import atomic_path
from volano.core.recipe import require_file
from volano.text.classify import Classifier
from volano.text.kernels.hashed import Sizes

KEY, FORMAT = "volano_classifier", 1
LONGEST_NGRAM = 40  # characters
FEATURES = 1  # raised whenever kernels/hashed.py reads a text otherwise
REMEDY = "Name a file that `volano classifier train` has written."


def save_classifier(classifier: Classifier, path: Path) -> None:
    """Write the file, whole or not at all; weights are kept in float16."""
    from safetensors.numpy import save

    about = {
        "format": FORMAT,
        "features": FEATURES,
        "labels": classifier.labels,
        "sizes": classifier.sizes._asdict(),
        "about": classifier.about,
    }
    # Beyond what float16 holds no weight is met; a larger one would become infinite.
    weights = np.clip(classifier.weights, -65504, 65504).astype(np.float16)
    tensors = {"weights": np.ascontiguousarray(weights), "bias": classifier.bias}
    data = save(tensors, metadata={KEY: json.dumps(about, sort_keys=True, ensure_ascii=True)})
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(data)


def check_replaceable(path: Path) -> None:
    """Raise DataError where a file that is no classifier would be overwritten."""
    if path.is_dir():
        raise DataError("this is a folder", str(path), "Name a file, such as weights.safetensors.")
    if path.exists():
        try:
            load_classifier(path)
        except DataError:
            what = "exists and is not weights of a classifier"
            raise DataError(what, str(path), "Name another file.") from None


def load_classifier(path: Path) -> Classifier:
    """Read the file. Raises DataError where it is none, cut short, or of another version."""
    from safetensors import SafetensorError, safe_open

    where = str(require_file(path))
    try:
        with safe_open(where, framework="numpy") as stream:
            header = (stream.metadata() or {}).get(KEY)
            if header is None:
                raise DataError("these are not weights of a classifier", where, REMEDY)
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as problem:
        raise DataError(f"not readable as safetensors ({problem})", where, REMEDY) from None
    try:
        about = json.loads(header)
        version = (about["format"], about["features"])
        if version != (FORMAT, FEATURES):
            what = f"format {version[0]}.{version[1]}, and this reads {FORMAT}.{FEATURES}"
            raise DataError(what, where, "Train it again with this version.")
        classifier = Classifier(
            tuple(about["labels"]),
            Sizes(**about["sizes"]),
            tensors["weights"].astype(np.float32),
            tensors["bias"].astype(np.float32),
            about["about"],
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise DataError(f"its header is damaged ({problem})", where, REMEDY) from None
    # A kernel reads where they say: beyond them lies other memory.
    buckets, labels = len(classifier.weights), len(classifier.labels)
    fewest, most, words = classifier.sizes
    if (
        classifier.weights.shape != (buckets, labels)
        or classifier.bias.shape != (labels,)
        or buckets.bit_count() != 1
        or not (0 <= fewest <= most <= LONGEST_NGRAM and 1 <= words <= 2)
        or not (np.isfinite(classifier.weights).all() and np.isfinite(classifier.bias).all())
    ):
        raise DataError("its parts do not fit together", where, REMEDY)
    return classifier
