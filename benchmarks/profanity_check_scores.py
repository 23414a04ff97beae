"""The peer's side of benchmarks/toxicity.py: scores of alt-profanity-check, in its environment.

    build/peers/bin/python benchmarks/profanity_check_scores.py IN.json OUT.json

IN holds {"sets": {name: texts}, "tweets": texts, "toxic": 0 or 1 each}. OUT gets, per set, the
probabilities of the package as it ships (`shipped`), those of its own recipe trained on the tweets
given (`retrained`), and megabytes a second.
"""

import json
import sys
import time
from pathlib import Path

import profanity_check.profanity_check as package
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC


def main() -> None:
    """Score every set by both."""
    given = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    # The settings of the package's own training script.
    vectorizer = TfidfVectorizer(stop_words="english", min_df=0.0001)
    recipe = LinearSVC(class_weight="balanced", dual=False, tol=1e-2, max_iter=100_000)
    retrained = CalibratedClassifierCV(estimator=recipe)
    retrained.fit(vectorizer.fit_transform(given["tweets"]), given["toxic"])
    found = {}
    for name, texts in given["sets"].items():
        started = time.perf_counter()
        shipped = package.predict_prob(texts)
        seconds = time.perf_counter() - started
        megabytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) / 1e6
        found[name] = {
            "shipped": [round(float(each), 6) for each in shipped],
            "retrained": [
                round(float(each), 6)
                for each in retrained.predict_proba(vectorizer.transform(texts))[:, 1]
            ],
            "mb_per_second": megabytes / seconds,
        }
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
