"""What a mixture gives beside the interleaving of Hugging Face's `datasets`, and what it costs.

    python benchmarks/mixture.py --group books=BOOKS.jsonl.gz --group code=FOLDER \
        --share code=0.3 [--size-epochs 1.5] [--json]

A group is a JSONL file with `text`, or a folder whose .py files are read. All sides are asked for
the same shares: ours by `curate.mix`, the peer as the probabilities of `interleave_datasets`
("all_exhausted"), read until it has as many bytes as ours. It draws documents, so it is asked
twice: with the shares as they are, and divided by the mean bytes of a group's documents. Told of
each: the groups' shares of bytes and of tokens (one tokenizer, made from our mixture), the most
passes of a document, and the fraction of documents that are read another number of times once a
hundredth of the corpus is left out. Of ours also the seconds of the curation, of another mixture of
it, and of packing; kernels are compiled before.
"""

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from datasets import Dataset, interleave_datasets

from volano.core.artifact import Artifact
from volano.core.jsonlines import BadLine, read_records
from volano.core.mixture import Mixture
from volano.core.store import Store
from volano.study.recipe import read_recipe
from volano.study.recut import recut
from volano.study.run import run
from volano.study.single import run_phase
from volano.text.kernels import warm_up
from volano.text.tokenizer import Tokenizer

Group = dict[str, str]  # id → text
PLAIN, BY_MEAN = "interleave_datasets", "interleave_datasets by mean bytes"
SIDES = ("volano", PLAIN, BY_MEAN)


def main() -> None:
    """Measure both sides."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--group", action="append", required=True, help="NAME=FILE or NAME=FOLDER")
    parser.add_argument("--share", action="append", required=True, help="NAME=FRACTION")
    parser.add_argument("--size-epochs", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    groups = {
        name: read(Path(path)) for name, path in (each.split("=", 1) for each in options.group)
    }
    shares = {name: float(share) for name, share in (each.split("=") for each in options.share)}
    warm_up()
    with tempfile.TemporaryDirectory() as folder:
        report = measured(groups, shares, options.size_epochs, Path(folder))
    print(json.dumps(report, indent=2) if options.json else table(report))


def read(path: Path) -> Group:
    """The texts of a file or folder, by an id that no other group has."""
    if path.is_dir():
        return {
            str(each): each.read_text("utf-8", "replace") for each in sorted(path.rglob("*.py"))
        }

    def record_of(values: dict[str, Any], where: str) -> tuple[str, str]:
        if not isinstance(values.get("text"), str):
            raise BadLine("no text")
        return where, str(values["text"])

    return {f"{path}:{where}": text for where, text in read_records([path], record_of)[0]}


def measured(
    groups: dict[str, Group], shares: dict[str, float], size_epochs: float, folder: Path
) -> dict[str, Any]:
    """All figures of both sides."""
    store = Store(folder / "store")
    settings = ["mix.by=kind", f"mix.shares={json.dumps(shares)}", f"mix.size_epochs={size_epochs}"]
    began = time.perf_counter()
    mixed, seconds = curated_and_mixed(groups, settings, folder, store, "all")
    mixture = Mixture.of(mixed.corpus())
    assert mixture is not None
    recipe = read_recipe({"name": "bench", "tokenizer": {"vocabulary": 4096}}, {}, (), where="")
    made = run(
        recipe, store, given={"curated": mixed, "collected": mixed}, targets=["tokens"], silent=True
    )
    by_stage = {each.stage.name: each for each in made}
    packed = json.loads((by_stage["tokens"].artifact.folder / "mixture.json").read_text())
    tokenizer = Tokenizer.load(by_stage["tokenizer"].artifact.folder)

    # Of the documents that curation has kept, on both sides.
    table = mixed.corpus().to_arrow(["id", "text", "kind", "mix.passes"])
    kept: dict[str, Group] = {name: {} for name in groups}
    ours: Counter[str] = Counter()
    for row in table.to_pylist():
        kept[row["kind"]][row["id"]] = row["text"]
        ours[row["id"]] = row["mix.passes"]
    wanted = {each.group: each.wanted_share for each in mixture.portions}
    mean = {each.group: each.bytes / each.documents for each in mixture.portions}
    asked = {PLAIN: wanted, BY_MEAN: {name: wanted[name] / mean[name] for name in wanted}}
    size = {name: len(text.encode()) for each in kept.values() for name, text in each.items()}
    texts = [text for each in kept.values() for text in each.values()]
    tokens = dict(zip(size, map(len, tokenizer.encode_batch(texts)), strict=True))

    gone = set(random.Random(0).sample(sorted(size), max(1, len(size) // 100)))
    fewer = {name: {i: t for i, t in each.items() if i not in gone} for name, each in kept.items()}
    again, _ = curated_and_mixed(fewer, settings, folder, store, "fewer")
    rows = again.corpus().to_arrow(["id", "mix.passes"]).to_pylist()
    ours_again = {row["id"]: row["mix.passes"] for row in rows}
    total = mixture.bytes_read
    theirs = {
        side: (interleaved(kept, each, total), interleaved(fewer, each, total))
        for side, each in asked.items()
    }
    seconds["pack"] = by_stage["tokens"].seconds
    return {
        "megabytes": sum(size.values()) / 1e6,
        "documents": len(size),
        "seconds": {**seconds, "whole_benchmark": time.perf_counter() - began},
        "wanted": wanted,
        "natural": {each.group: each.natural_share for each in mixture.portions},
        "notes": list(mixture.notes),
        "packed_token_shares": {each["group"]: each["share"] for each in packed["groups"]},
        "volano": figures(kept, ours, ours_again, gone, size, tokens),
        **{side: figures(kept, *passes, gone, size, tokens) for side, passes in theirs.items()},
    }


def curated_and_mixed(
    groups: dict[str, Group], settings: list[str], folder: Path, store: Store, name: str
) -> tuple[Artifact, dict[str, float]]:
    """The corpus with its mixture, and the seconds of the curation and of another mixture of it."""
    path = folder / f"{name}.jsonl"
    with path.open("w") as stream:
        for group, texts in groups.items():
            for each, text in texts.items():
                stream.write(json.dumps({"id": each, "text": text, "kind": group}) + "\n")
    # Rules on prose would take the code out, and what reads differently is not what is measured.
    off = ["quality=off", "pii=off"]
    made = run_phase("curate", store, data=[str(path)], settings=off, name=name, silent=True)
    began = time.perf_counter()
    mixed = recut(store, made[-1].artifact, settings, silent=True)
    return mixed.artifact, {"curate": made[-1].seconds, "mix": time.perf_counter() - began}


def interleaved(groups: dict[str, Group], shares: dict[str, float], size: int) -> Counter[str]:
    """How often the peer reads each document until it has read so many bytes."""
    names = [name for name in groups if shares[name] > 0]
    whole = sum(shares.values())
    parts = [Dataset.from_dict({"id": list(groups[name]), "text": list(groups[name].values())})
             for name in names]  # fmt: skip
    found: Counter[str] = Counter()
    seed = read_bytes = 0
    while read_bytes < size:  # once all are exhausted it begins anew
        order = interleave_datasets(parts, [shares[name] / whole for name in names], seed=seed,
                                    stopping_strategy="all_exhausted")  # fmt: skip
        for row in order:
            if read_bytes >= size:
                break
            found[row["id"]] += 1
            read_bytes += len(row["text"].encode())
        seed += 1
    return found


def figures(
    groups: dict[str, Group],
    passes: Counter[str],
    passes_again: dict[str, int],
    left_out: set[str],
    size: dict[str, int],
    tokens: dict[str, int],
) -> dict[str, Any]:
    """What one side has read."""
    found: dict[str, Any] = {}
    for title, weight in (("byte_shares", size), ("token_shares", tokens)):
        total = sum(passes[name] * weight[name] for name in size)
        found[title] = {
            group: sum(passes[name] * weight[name] for name in texts) / total
            for group, texts in groups.items()
        }
    both = [name for name in size if name not in left_out]
    found["most_passes"] = max(passes.values())
    found["documents_never_read"] = sum(passes[name] == 0 for name in size)
    found["changed_passes_fraction"] = sum(
        passes[name] != passes_again[name] for name in both
    ) / len(both)
    return found


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [f"{report['documents']:,} documents, {report['megabytes']:.1f} MB"]
    for group, wanted in report["wanted"].items():
        told = [
            f"{side} bytes {report[side]['byte_shares'][group]:.3f} "
            f"tokens {report[side]['token_shares'][group]:.3f}"
            for side in SIDES
        ]
        natural = report["natural"][group]
        lines.append(f"{group}: natural {natural:.3f}, wanted {wanted:.3f}; {'; '.join(told)}")
    for side in SIDES:
        each = report[side]
        lines.append(
            f"{side}: at most {each['most_passes']} passes, {each['documents_never_read']:,} never "
            f"read, {each['changed_passes_fraction']:.1%} changed by a hundredth left out"
        )
    lines += [f"{name}: {each:.2f} s" for name, each in report["seconds"].items()]
    return "\n".join(lines + report["notes"])


if __name__ == "__main__":
    main()
