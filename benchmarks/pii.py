"""Personal data: precision, recall and F1 of each kind, beside presidio-analyzer's patterns.

    python benchmarks/pii.py GOLD… [--half tuned|held_out] [--prose FILES…] [--json]

GOLD are JSON lists (.gz too) in the form of presidio-research: `full_text`, `masked` and `spans`
of entity_type, start_position and end_position. FILES are JSONL, also compressed, with a field
`text`: prose in which what is found is shown by number, since nothing there is marked.

Rows of one template stand in one half, by a hash of `masked`; the rules were tuned on the half
`tuned` alone. Both sides see the same rows in one run. `overlap`: a span counts where it shares a
character with a marked span of its kind; `exact`: where both ends agree. Ours runs as in
documents (the default) and as in conversations; presidio at its default threshold, and for each
kind at the threshold that makes its F1 best on these very rows. The peer comes from `make peers`.
"""

import argparse
import gzip
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "build/peers/bin/python"
PEER = ROOT / "benchmarks/presidio_pii.py"
KIND_OF = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "IP_ADDRESS": "ip_address",
    "CREDIT_CARD": "credit_card",
    "IBAN_CODE": "iban",
    "US_SSN": "national_id",
    "CRYPTO": "crypto_address",
    "STREET_ADDRESS": "street_address",
    "PERSON": "person_name",
}
ALONE = ("street_address", "person_name")  # for which presidio has no pattern
THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9, 1.0)

Found = list[list[tuple[int, int, str, float]]]  # per text: begin, end, kind, score


class Score(NamedTuple):
    marked: int
    precision: float
    recall: float
    f1: float
    exact_f1: float


def main() -> None:
    """Score both sides on the marked rows, count what they find in prose, and time them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("gold", nargs="+", type=Path, help="JSON lists with marked spans")
    parser.add_argument("--half", choices=("tuned", "held_out"), help="default: all rows")
    parser.add_argument("--prose", nargs="*", type=Path, default=[], help="JSONL with `text`")
    parser.add_argument("--prose-megabytes", type=float, default=1.0, help="of each, default 1")
    parser.add_argument("--json", action="store_true", help="all figures as JSON")
    options = parser.parse_args()
    if not PEERS.is_file():
        sys.exit(f"{PEERS} is not there. Run `make peers` once.")
    rows = [row for path in options.gold for row in _gold(path)]
    rows = [row for row in rows if options.half in (None, half_of(row))]
    texts = [row["full_text"] for row in rows]
    gold = [_marked(row) for row in rows]
    kinds = [kind for kind in dict.fromkeys(KIND_OF.values()) if any(_only(gold, kind))]
    peer, _ = _presidio(texts)
    sides = {
        "ours": _by_us(texts)[0],
        "ours, conversation": _by_us(texts, conversation=True)[0],
        "presidio": peer,
    }
    scores = {
        name: {kind: score(_only(gold, kind), _only(found, kind)) for kind in kinds}
        for name, found in sides.items()
    }
    best = {kind: _best(_only(gold, kind), _only(peer, kind)) for kind in kinds}
    scores["presidio, best threshold"] = {kind: each for kind, (each, _) in best.items()}
    both = [kind for kind in kinds if kind not in ALONE]
    picked = [
        [span for span in spans if span[2] in both and span[3] >= best[span[2]][1]]
        for spans in peer
    ]
    together = {**sides, "presidio, best threshold": picked}
    for name, found in together.items():
        scores[name]["all that both find"] = score(_among(gold, both), _among(found, both))
    prose = [_prose(path, options.prose_megabytes) for path in options.prose]
    figures = {"rows": len(rows), "scores": scores, "prose": prose}
    print(json.dumps(figures, indent=2) if options.json else _table(figures))


def half_of(row: dict[str, Any]) -> str:
    """The half of a row, the same for all rows of a template."""
    digest = hashlib.sha256(row["masked"].encode()).digest()
    return "tuned" if digest[0] % 2 else "held_out"


def score(gold: Found, found: Found) -> Score:
    """Of spans with their kinds. A precision of nothing found, or F1 of nothing right, is 0."""
    right = exact = caught = marked = given = 0
    for true, seen in zip(gold, found, strict=True):
        marked, given = marked + len(true), given + len(seen)
        right += sum(any(_meets(one, other) for other in true) for one in seen)
        caught += sum(any(_meets(one, other) for other in seen) for one in true)
        exact += len({span[:3] for span in map(tuple, true)} & {s[:3] for s in map(tuple, seen)})
    precision, recall = right / max(given, 1), caught / max(marked, 1)
    harmonic = 2 * precision * recall / max(precision + recall, 1e-12)
    return Score(marked, precision, recall, harmonic, 2 * exact / max(given + marked, 1))


def _meets(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return one[2] == other[2] and one[0] < other[1] and other[0] < one[1]


def _best(gold: Found, found: Found) -> tuple[Score, float]:
    tried = []
    for threshold in THRESHOLDS:
        kept = [[span for span in spans if span[3] >= threshold] for spans in found]
        tried.append((score(gold, kept), threshold))
    return max(tried, key=lambda each: (each[0].f1, -each[1]))


def _only(found: Found, kind: str) -> Found:
    return _among(found, [kind])


def _among(found: Found, kinds: Iterable[str]) -> Found:
    return [[span for span in spans if span[2] in kinds] for spans in found]


def _gold(path: Path) -> list[dict[str, Any]]:
    read: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    with read(path, "rt", encoding="utf-8") as file:
        return list(json.load(file))


def _marked(row: dict[str, Any]) -> list[tuple[int, int, str, float]]:
    return [
        (span["start_position"], span["end_position"], KIND_OF[span["entity_type"]], 1.0)
        for span in row["spans"]
        if span["entity_type"] in KIND_OF
    ]


def _by_us(
    texts: list[str], conversation: bool = False, *, by_default: bool = False
) -> tuple[Found, float]:
    import pyarrow as pa

    from volano.text import kernels
    from volano.text.pii import DEFAULT_KINDS, KINDS, find_spans, find_spans_in

    kernels.warm_up()
    kinds = DEFAULT_KINDS if by_default else tuple(KINDS)
    find_spans("call +41 44 668 1800, SSN 514-69-0360", kinds)  # what is loaded late is loaded now
    began = time.perf_counter()
    if conversation:
        spans = [find_spans(text, kinds, conversation=True) for text in texts]
    else:
        by_row = find_spans_in(pa.array(texts, pa.large_string()), kinds)
        spans = [by_row.get(row, []) for row in range(len(texts))]
    seconds = time.perf_counter() - began
    return [[(s.begin, s.end, s.kind, 1.0) for s in each] for each in spans], seconds


def _presidio(texts: list[str]) -> tuple[Found, float]:
    with tempfile.TemporaryDirectory() as name:
        ours, theirs = Path(name) / "texts.json", Path(name) / "result.json"
        ours.write_text(json.dumps(texts))
        done = subprocess.run(
            [str(PEERS), str(PEER), str(ours), str(theirs)], capture_output=True, text=True
        )
        if done.returncode != 0:
            sys.exit(f"{PEER} failed:\n{done.stderr}")
        result = json.loads(theirs.read_text())
    return [[tuple(span) for span in spans] for spans in result["found"]], result["seconds"]


def _prose(path: Path, megabytes: float) -> dict[str, Any]:
    """What each side finds in a file of prose, per megabyte, and how fast."""
    import fsspec  # comes with the development packages

    with fsspec.open(str(path), "rt", encoding="utf-8", newline="\n", compression="infer") as lines:
        texts = [json.loads(line)["text"] for line in lines if line.strip()]
    size = sum(len(text.encode()) for text in texts) / 1e6
    ours, seconds = _by_us(texts)
    _, quick = _by_us(texts, by_default=True)
    part = texts[:: max(1, round(size / megabytes))]  # presidio would take hours for the whole
    part_size = sum(len(text.encode()) for text in part) / 1e6
    theirs, peer_seconds = _presidio(part)
    return {
        "file": path.name,
        "megabytes": round(size, 2),
        "presidio_megabytes": round(part_size, 2),
        "ours_per_mb": _per_megabyte(ours, size),
        "presidio_per_mb": _per_megabyte(theirs, part_size),
        "ours_mb_per_second": round(size / quick, 1),
        "ours_with_names_mb_per_second": round(size / seconds, 1),
        "presidio_mb_per_second": round(part_size / peer_seconds, 3),
    }


def _per_megabyte(found: Found, megabytes: float) -> dict[str, float]:
    counts: dict[str, int] = {}
    for spans in found:
        for span in spans:
            counts[span[2]] = counts.get(span[2], 0) + 1
    return {kind: round(count / megabytes, 2) for kind, count in sorted(counts.items())}


def _table(figures: dict[str, Any]) -> str:
    lines = [f"{figures['rows']:,} rows; precision / recall / F1 by overlap, F1 exact", ""]
    scores = figures["scores"]
    lines += ["| kind | marked | " + " | ".join(scores) + " |", "|---" * (len(scores) + 2) + "|"]
    for kind in next(iter(scores.values())):
        cells = [_cell(each[kind], name, kind) for name, each in scores.items()]
        lines.append(f"| {kind} | {scores['ours'][kind].marked} | " + " | ".join(cells) + " |")
    for each in figures["prose"]:
        lines += ["", f"{each['file']}: found per MB, in {each['megabytes']} MB of it by us"]
        lines += [
            f"  ours      {each['ours_mb_per_second']:>8} MB/s  {each['ours_per_mb']}",
            f"            {each['ours_with_names_mb_per_second']:>8} MB/s with names and addresses",
        ]
        lines += [
            f"  presidio  {each['presidio_mb_per_second']:>8} MB/s  {each['presidio_per_mb']}"
        ]
    return "\n".join(lines)


def _cell(each: Score, side: str, kind: str) -> str:
    if side.startswith("presidio") and kind in ALONE:
        return "no pattern"
    return f"{each.precision:.2f} / {each.recall:.2f} / **{each.f1:.2f}**, {each.exact_f1:.2f}"


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
