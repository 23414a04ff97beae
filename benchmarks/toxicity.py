"""The classifier behind `curate.toxicity` beside a list of words and alt-profanity-check.

    python benchmarks/toxicity.py --davidson labeled_data.csv --olid olid.tsv \\
        --toxigen prompts.jsonl --tweeteval tweets.jsonl --words en.txt \\
        --prose wikipedia.jsonl --documents brown.jsonl peps.jsonl [--json]

Each file may be left out, and be compressed (.gz). Nothing of ours is trained. The peer comes from
`make peers`, and is there twice: as it ships, and by its own recipe on the tweets that we learnt
from. As it ships it was trained on the data of Davidson et al. 2017 and on comments of Wikipedia,
so it may have seen all the Davidson rows that are held out here.

Of OLID, ToxiGen, TweetEval and the documents every second row chose the settings and bounds, and
only the others are measured; docs/toxicity.md says how untouched these are. Ours is what the filter
measures, `toxic`, its lists of words included in the time, and beside it the same for a text read
as one passage, however long; the list counts its words per word. `recipe` is the peer's recipe on
our tweets. A difference has a bootstrap interval.
"""

import argparse
import csv
import html
import io
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from volano.curate.section import ToxicitySection
from volano.curate.toxicity import measure_toxicity, toxic_of, weights_of
from volano.stats.detection import average_precision, brier_score, calibration_error, roc_auc
from volano.text.classifier_file import load_classifier
from volano.text.classify import column_of

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from train_toxicity import read, rows_for_test, tweets_of  # noqa: E402

SYSTEMS = ("ours", "list", "shipped", "recipe")
MAX_NEGATIVES = 0.1  # the fraction of all negatives that each system flags, to compare subgroups at
GROUPS = {
    "women": r"wom[ae]n|girls?|female|feminis\w+",
    "black people": r"black (?:people|m[ae]n|wom[ae]n|folks?)|african americans?|blacks",
    "Jews": r"jew|jews|jewish",
    "Muslims": r"muslims?|islam\w*",
    "LGBT": r"gay|gays|lesbians?|transgender|lgbt\w*|queer",
    "immigrants": r"(?:im)?migrants?|refugees?|mexicans?",
    "Asians": r"asians?|chinese",
    "disabled": r"disabled|disabilit\w+|autistic|blind|deaf",
    # No set has labels of dialect; these words are a rough mark of African-American English.
    "dialect": r"ain'?t|finna|tryna|y'?all|gon|dat|dis|dem|bruh|wit|lil|homie",
}


class Items(NamedTuple):
    """Texts, and which of them are toxic."""

    texts: list[str]
    toxic: Any


def main() -> None:
    """Score all sets by all systems and print what each makes of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("davidson", "olid", "toxigen", "tweeteval", "words"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--prose", nargs="*", type=Path, default=[], help="clean, short texts")
    parser.add_argument("--documents", nargs="*", type=Path, default=[], help="clean, long texts")
    parser.add_argument("--peer", type=Path, default=ROOT / "build/peers/bin/python")
    parser.add_argument("--json", action="store_true", help="all figures as JSON")
    options = parser.parse_args()
    if not options.peer.is_file():
        sys.exit(f"{options.peer} is not there. Run `make peers` once.")
    sets = labelled_sets(options)
    prose = {path.name.partition(".")[0]: texts_of(path) for path in options.prose}
    documents = {path.name.partition(".")[0]: texts_of(path)[1::2] for path in options.documents}
    all_texts = {name: each.texts for name, each in sets.items()} | prose | documents
    scores, speed = scored(all_texts, options)
    found = {
        "labelled": {name: measures(each, scores[name]) for name, each in sets.items()},
        "hate among the tweets": hate_auc(options.davidson, scores),
        "subgroups": subgroups(sets, scores),
        "prose": {name: flagged(scores[name]) for name in prose},
        "documents": {name: flagged(scores[name]) for name in documents},
        "mb_per_second": speed,
    }
    print(json.dumps(found, indent=2) if options.json else as_text(found))


# ---- what is read


def labelled_sets(options: argparse.Namespace) -> dict[str, Items]:
    """The sets that were named."""
    found = {}
    if options.davidson:
        texts, labels = tweets_of(options.davidson)
        rows = rows_for_test(texts)
        toxic = np.array([labels[row] != "neither" for row in rows])
        found["davidson"] = Items([texts[row] for row in rows], toxic)
    readers: dict[str, Callable[[Path], Items]] = {
        "olid": olid_of,
        "toxigen": toxigen_of,
        "tweeteval": tweeteval_of,
    }
    for name, reader in readers.items():
        path = getattr(options, name)
        if path:
            texts, toxic = reader(path)
            found[name] = Items(texts[1::2], toxic[1::2])
    return found


def olid_of(path: Path) -> Items:
    """OLID (Zampieri et al. 2019): tweets, offensive or not."""
    rows = csv.DictReader(io.StringIO(read(path).decode()), delimiter="\t", quoting=csv.QUOTE_NONE)
    pairs = [(row["tweet"], row["subtask_a"] == "OFF") for row in rows]
    return Items([text for text, _ in pairs], np.array([toxic for _, toxic in pairs]))


def toxigen_of(path: Path) -> Items:
    """ToxiGen (Hartvigsen et al. 2022): prompts of several sentences, hateful or neutral."""
    rows = json_lines(path)
    texts = [row["prompt"].replace("\\n", "\n") for row in rows]
    return Items(texts, np.array([row["label"] == "hate" for row in rows]))


def tweeteval_of(path: Path) -> Items:
    """The hate task of TweetEval (Basile et al. 2019): of women and immigrants."""
    rows = [row for row in json_lines(path) if row["task"] == "hate"]
    texts = [html.unescape(row["text"]) for row in rows]
    return Items(texts, np.array([row["label"] == 1 for row in rows]))


def texts_of(path: Path) -> list[str]:
    """The field `text` of each line."""
    return [row["text"] for row in json_lines(path)]


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON Lines."""
    return [json.loads(line) for line in read(path).decode("utf-8").split("\n") if line]


# ---- what is scored


def scored(
    sets: dict[str, list[str]], options: argparse.Namespace
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, float]]]:
    """Scores per set and system, and megabytes a second."""
    section = ToxicitySection()
    classifier = load_classifier(weights_of(section))
    neutral = classifier.labels.index("neither")
    measure_toxicity(column_of(["the first call reads the kernels"]), [""], section)
    words = read(options.words).decode("utf-8").split("\n") if options.words else []
    listed = sorted((re.escape(word) for word in words if word), key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(listed) or '(?!)'})(?!\w)", re.IGNORECASE)
    scores: dict[str, dict[str, Any]] = {}
    speed: dict[str, dict[str, float]] = {}
    peer = peer_scores(sets, options)
    for name, texts in sets.items():
        megabytes = sum(len(text.encode()) for text in texts) / 1e6
        started = time.perf_counter()
        columns = measure_toxicity(column_of(texts), [""] * len(texts), section).columns
        between = time.perf_counter()
        counts = [len(pattern.findall(text)) / max(len(text.split()), 1) for text in texts]
        ended = time.perf_counter()
        one = classifier.windows(column_of(texts), words=10**6, line_words=10**6, neutral="neither")
        as_one = np.zeros(len(texts))
        as_one[one.rows] = toxic_of(one, neutral, classifier.about["with_worst_word"])
        scores[name] = {
            "as one passage": as_one,
            "ours": columns["toxic"].to_numpy(),
            "hate": columns["hate"].to_numpy(),
            "list": np.array(counts),
            "shipped": np.array(peer[name]["shipped"]),
            "recipe": np.array(peer[name]["retrained"]),
        }
        speed[name] = {
            "ours": round(megabytes / (between - started), 1),
            "list": round(megabytes / (ended - between), 1),
            "shipped": round(peer[name]["mb_per_second"], 1),
        }
    return scores, speed


def peer_scores(sets: dict[str, list[str]], options: argparse.Namespace) -> dict[str, Any]:
    """What the peer says, in its own environment."""
    texts, labels = tweets_of(options.davidson) if options.davidson else ([], [])
    held_out = set(rows_for_test(texts)) if texts else set()
    learnt = [row for row in range(len(texts)) if row not in held_out]
    given = {
        "sets": sets,
        "tweets": [texts[row] for row in learnt] or ["a good day", "a bad word"] * 10,
        "toxic": [int(labels[row] != "neither") for row in learnt] or [0, 1] * 10,
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("in.json", "out.json")]
        paths[0].write_text(json.dumps(given), "utf-8")
        script = ROOT / "benchmarks/profanity_check_scores.py"
        subprocess.run([options.peer, script, *paths], check=True)
        return dict(json.loads(paths[1].read_text("utf-8")))


# ---- what is measured


def measures(items: Items, scores: dict[str, Any]) -> dict[str, Any]:
    """ROC AUC and average precision of each system; of probabilities, whether they are right."""
    toxic = items.toxic
    rows: dict[str, Any] = {"rows": len(toxic), "toxic": int(toxic.sum())}
    for system in (*SYSTEMS, "as one passage"):
        rows[system] = {
            "roc_auc": round(roc_auc(scores[system], toxic), 4),
            "average_precision": round(average_precision(scores[system], toxic), 4),
        }
        if system != "list":
            rows[system]["calibration_error"] = round(calibration_error(scores[system], toxic), 4)
            rows[system]["brier"] = round(brier_score(scores[system], toxic), 4)
    for system in SYSTEMS[1:]:
        rows[f"ours - {system}"] = difference(scores["ours"], scores[system], toxic)
    return rows


def hate_auc(path: Path | None, scores: dict[str, dict[str, Any]]) -> dict[str, float]:
    """ROC AUC of `hate` against the two other labels, on the held-out tweets."""
    if path is None:
        return {}
    texts, labels = tweets_of(path)
    truth = np.array([labels[row] == "hate" for row in rows_for_test(texts)])
    return {"ours": round(roc_auc(scores["davidson"]["hate"], truth), 4)}


def difference(ours: Any, theirs: Any, toxic: Any) -> list[float]:
    """Of the ROC AUC: its value, and the middle 95 % over 500 draws of the rows."""
    draw = np.random.default_rng(0)
    drawn = [draw.integers(0, len(toxic), len(toxic)) for _ in range(500)]
    gaps = [roc_auc(ours[rows], toxic[rows]) - roc_auc(theirs[rows], toxic[rows]) for rows in drawn]
    middle = [float(each) for each in np.quantile(gaps, [0.025, 0.975])]
    return [round(each, 4) for each in (roc_auc(ours, toxic) - roc_auc(theirs, toxic), *middle)]


def subgroups(sets: dict[str, Items], scores: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Of texts that are not toxic, the fraction flagged, all and by whom they speak of; each system
    at the score above which it flags a tenth of all of them."""
    clean = [
        text
        for each in sets.values()
        for text, toxic in zip(each.texts, each.toxic, strict=True)
        if not toxic
    ]
    found: dict[str, Any] = {}
    for system in SYSTEMS:
        values = np.concatenate(
            [scores[name][system][~each.toxic] for name, each in sets.items()] or [[]]
        )
        if not len(values):
            return {}
        flags = values > np.quantile(values, 1 - MAX_NEGATIVES)
        found.setdefault("all", {"rows": len(clean)})[system] = round(float(flags.mean()), 4)
        for group, terms in GROUPS.items():
            named = re.compile(rf"\b(?:{terms})\b", re.IGNORECASE)
            rows = np.array([named.search(text) is not None for text in clean])
            if rows.sum() >= 20:
                of_group = found.setdefault(group, {"rows": int(rows.sum())})
                of_group[system] = round(float(flags[rows].mean()), 4)
    return found


def flagged(scores: dict[str, Any]) -> dict[str, Any]:
    """The fraction of clean texts above a probability; of the list, with any word."""
    found: dict[str, Any] = {"rows": len(scores["ours"])}
    for system in SYSTEMS:
        if system == "list":
            found["list, any word"] = round(float((scores[system] > 0).mean()), 4)
        else:
            for bound in (0.5, 0.99):
                found[f"{system} > {bound}"] = round(float((scores[system] > bound).mean()), 4)
    found["hate > 0.8"] = round(float((scores["hate"] > 0.8).mean()), 4)
    return found


def as_text(found: dict[str, Any]) -> str:
    """A few lines for each set."""
    lines = []
    for name, rows in found["labelled"].items():
        lines.append(f"{name}: {rows['rows']:,} rows, {rows['toxic']:,} toxic")
        lines += [f"    {key:15} {rows[key]}" for key in rows if key not in ("rows", "toxic")]
    for title in ("hate among the tweets", "subgroups", "prose", "documents", "mb_per_second"):
        lines.append(title)
        lines += [f"    {name:15} {figures}" for name, figures in found[title].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
