"""How the passages of a long text are best put together: one toxic tweet hidden in clean documents.

    python benchmarks/toxicity_passages.py labeled_data.csv brown.jsonl peps.jsonl … [--json]

The first file is the data of Davidson et al. 2017, of which tweets that nothing was learnt from are
hidden, each as a line of its own between two lines of a document. The others are clean documents
(JSON Lines with a field `text`, also .gz), of which every second is taken: the others were looked
at while the bounds were set. For each way of cutting and of putting together: the ROC
AUC of documents with a tweet against those without; the same of what `curate.toxicity` measures;
and how many of both are beyond its bounds.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from volano.curate.section import ToxicitySection
from volano.curate.toxicity import measure_toxicity, weights_of
from volano.stats.detection import roc_auc
from volano.text.classifier_file import load_classifier
from volano.text.classify import Classifier, column_of

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from train_toxicity import read, rows_for_test, tweets_of  # noqa: E402

CUTS = {  # words of a passage, and from how many on a line break ends one
    "25 words": (25, 25),
    "25 words, or a line of 8": (25, 8),
    "25 words, or a line of 4": (25, 4),
    "25 words, or any line": (25, 1),
    "50 words": (50, 50),
}
POOLS = {
    "highest": max,
    "mean of 3 highest": lambda each: np.sort(each)[-3:].mean(),
    "quantile 0.99": lambda each: np.quantile(each, 0.99),
    "mean": np.mean,
}


def main() -> None:
    """Measure every way on every set of documents."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("davidson", type=Path)
    parser.add_argument("documents", nargs="+", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    classifier = load_classifier(weights_of(ToxicitySection()))
    tweets, labels = tweets_of(options.davidson)
    toxic = [
        " ".join(tweets[row].split()) for row in rows_for_test(tweets) if labels[row] != "neither"
    ]
    found = {}
    for path in options.documents:
        lines = read(path).decode("utf-8").split("\n")
        clean = [json.loads(line)["text"] for line in lines if line][1::2]
        found[path.name.partition(".")[0]] = measured(classifier, clean, hidden(clean, toxic))
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, rows in found.items():
        print(name)
        for way, figures in rows.items():
            print(f"    {way:26} {figures}")


def hidden(clean: list[str], toxic: list[str]) -> list[str]:
    """Each document with one tweet between two of its lines."""
    draw = np.random.default_rng(0)
    texts = []
    for text in clean:
        lines = text.split("\n")
        tweet = toxic[int(draw.integers(len(toxic)))]
        lines.insert(int(draw.integers(len(lines) + 1)), tweet)
        texts.append("\n".join(lines))
    return texts


def measured(classifier: Classifier, clean: list[str], with_tweet: list[str]) -> dict[str, Any]:
    """For each cut the area of each pool, and what the filter makes of both."""
    neutral = classifier.labels.index("neither")
    truth = np.arange(len(clean) + len(with_tweet)) >= len(clean)
    column = column_of(clean + with_tweet)
    whole = 1 - classifier.probabilities(column)[:, neutral]
    rows: dict[str, Any] = {"as a whole": {"auc": round(roc_auc(whole, truth), 3)}}
    for name, (words, line_words) in CUTS.items():
        windows = classifier.windows(column, words=words, line_words=line_words)
        scores = 1 - windows.probabilities[:, neutral]
        bounds = np.searchsorted(windows.rows, np.arange(len(truth) + 1))
        parts = [scores[bounds[row] : bounds[row + 1]] for row in range(len(truth))]
        rows[name] = {
            pool: round(roc_auc(np.array([how(each) for each in parts]), truth), 3)
            for pool, how in POOLS.items()
        }
    section = ToxicitySection()
    columns = measure_toxicity(column, [""] * len(truth), section).columns
    toxic = columns["toxic"].to_numpy()
    rows["curate.toxicity"] = {"auc": round(roc_auc(toxic, truth), 3)}
    for side, of_side in (("clean", ~truth), ("with a tweet", truth)):
        rows[f"beyond a bound, {side}"] = {
            f"{name} >= {bound}": round(
                float((columns[name].to_numpy() >= bound)[of_side].mean()), 4
            )
            for name, bound in section.min_probability.items()
        }
    return rows


if __name__ == "__main__":
    main()
