"""The main text of web pages beside trafilatura and resiliparse: right words, and pages a second.

    python benchmarks/main_text.py PAGES.jsonl.gz … [--all-sites] [--rounds N] [--json]

Rows have `url`, `html` and either `gold` (the whole main text; scored by runs of four words, each
page counting alike, as in the article extraction benchmark of Zyte) or `with` and `without`
(sentences that must and must not be kept, as in trafilatura's own evaluation). Our trees were
trained on two thirds of the sites of these sets (scripts/train_main_text.py): only the other third
is measured, unless `--all-sites`. Sides alternate, one process each; the clock runs over extraction
alone, from the page as text. `--warc FILE` measures reading a web archive instead, beside
datatrove's reader. The peers come from `make peers`.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "build/web_peers/bin/python"
DATATROVE = ROOT / "build/peers/bin/python"
RUN_WORDS = 4


def main() -> None:
    """Measure every side, or be one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--all-sites", action="store_true", help="those trained on as well")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--warc", type=Path, help="read this web archive, scored by the pages")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    pages = read_pages(options.files)
    if not options.all_sites:
        pages = [page for page in pages if is_measured(page["url"])]
    sides = ARCHIVE_SIDES if options.warc else SIDES
    if options.side and options.warc:
        _read_archive(options.side, options.warc)
        return
    if options.side:
        _be(options.side, pages)
        return
    peers = DATATROVE if options.warc else PEERS
    if not peers.is_file():
        sys.exit(f"{peers} is not there. Run `make peers` once.")
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    scores: dict[str, dict[str, Any]] = {}
    count = len(pages)
    for _ in range(options.rounds):
        for side in sides:
            python = sys.executable if side.startswith("volano") else str(peers)
            command = [python, __file__, *map(str, options.files), "--side", side]
            command += ["--all-sites"] * options.all_sites
            command += ["--warc", str(options.warc)] if options.warc else []
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            if ran.returncode:
                sys.exit(f"{side} failed: {ran.stderr.strip().splitlines()[-1:]}")
            found = json.loads(ran.stdout.splitlines()[-1])
            seconds[side].append(found["seconds"])
            if options.warc:
                count = found["pages"]
                known = [page for page in pages if page["url"] in found["urls"]]
                scores[side] = score(known, [found["texts"].get(page["url"], "") for page in known])
            else:
                scores[side] = score(pages, found["texts"])
    report = _report(count, seconds, scores)
    print(json.dumps(report, indent=2) if options.json else _table(report))


def read_pages(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The rows of JSONL files, also .gz."""
    import gzip

    pages = []
    for path in files:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            pages += [json.loads(line) for line in lines if line.strip()]
    return pages


def is_measured(url: str) -> bool:
    """Whether the site of a page belongs to the third that is never trained on."""
    host = urlsplit(url).netloc or url.rpartition(":")[2]
    site = ".".join(host.partition(":")[0].split(".")[-2:])
    return hashlib.sha256(site.encode()).digest()[0] % 3 == 0


def words(text: str) -> list[str]:
    """Runs of letters and digits."""
    return re.findall(r"\w+", text)


def runs(text: str, length: int = RUN_WORDS) -> "Counter[tuple[str, ...]]":
    """Runs of words; a shorter text is one run."""
    found = words(text)
    if not found:
        return Counter()
    return Counter(
        tuple(found[place : place + length]) for place in range(max(1, len(found) - length + 1))
    )


def covered(block: str, text: str) -> float:
    """The fraction of a block's runs of words that a text holds; of a short block, whether a line
    of the text is it."""
    found = words(block)
    if len(found) < RUN_WORDS:
        return float(found in [words(line.lstrip("- ")) for line in text.split("\n")])
    mine, its = runs(block), runs(text)
    return sum(count for run, count in mine.items() if run in its) / mine.total()


def score(pages: Sequence[dict[str, Any]], texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 for each of the two kinds of rows that there are."""
    whole = [0.0, 0.0, 0.0]  # shares of runs that are right, too many and missing
    right = wrong = missing = 0
    for page, text in zip(pages, texts, strict=True):
        if "gold" in page:
            mine, gold = runs(text), runs(page["gold"])
            shares = [(mine & gold).total(), (mine - gold).total(), (gold - mine).total()]
            for place, share in enumerate(shares):
                whole[place] += share / max(sum(shares), 1)
        else:
            right += sum(sentence in text for sentence in page["with"])
            missing += sum(sentence not in text for sentence in page["with"])
            wrong += sum(sentence in text for sentence in page["without"])
    found = {}
    for name, (hits, extra, lost) in (("gold", whole), ("sentences", (right, wrong, missing))):
        if hits:
            precision, recall = hits / (hits + extra), hits / (hits + lost)
            f1 = 2 * precision * recall / (precision + recall)
            found[name] = {"precision": precision, "recall": recall, "f1": f1}
    return found


# ---- sides


def _volano() -> Callable[[str], str | None]:
    from volano.text.main_text import main_text

    return lambda html: main_text(html.encode("utf-8", "replace")).text


def _trafilatura(**settings: Any) -> Callable[[], Callable[[str], str | None]]:
    def side() -> Callable[[str], str | None]:
        from trafilatura import extract

        return lambda html: extract(html, **settings)

    return side


def _resiliparse() -> Callable[[str], str | None]:
    from resiliparse.extract.html2text import extract_plain_text

    return lambda html: extract_plain_text(html, main_content=True, alt_texts=False)


SIDES: dict[str, Callable[[], Callable[[str], str | None]]] = {
    "volano": _volano,
    "trafilatura, defaults": _trafilatura(),
    "trafilatura, as datatrove's reader": _trafilatura(
        include_comments=False, favor_precision=True, deduplicate=True
    ),
    "trafilatura, fast, no comments": _trafilatura(fast=True, include_comments=False),
    "resiliparse": _resiliparse,
}


def _be(side: str, pages: Sequence[dict[str, Any]]) -> None:
    extract = SIDES[side]()
    extract(pages[0]["html"])  # imports and compiled code
    began = time.perf_counter()
    texts = [extract(page["html"]) or "" for page in pages]
    print(json.dumps({"seconds": time.perf_counter() - began, "texts": texts}))


def _read_archive(side: str, path: Path) -> None:
    urls = _urls(path)
    texts, seconds = ARCHIVE_SIDES[side](path)
    print(json.dumps({"seconds": seconds, "texts": texts, "urls": urls, "pages": len(urls)}))


def _urls(path: Path) -> list[str]:
    import gzip

    with gzip.open(path) as lines:
        return [
            line.partition(b":")[2].strip().decode()
            for line in lines
            if line.startswith(b"WARC-Target-URI:")
        ]


def _volano_archive(path: Path) -> tuple[dict[str, str], float]:
    from volano.collect.readers.fields import Cursor, Fields
    from volano.collect.readers.warc import read_warc
    from volano.text.main_text import main_text

    main_text(b"<p>a")  # compiled code
    began = time.perf_counter()
    texts = {
        read.values["url"]: read.values["text"]
        for read in read_warc(path, path.name, "text", Cursor())
        if isinstance(read, Fields)
    }
    return texts, time.perf_counter() - began


def _datatrove_archive(in_sandbox: bool) -> Callable[[Path], tuple[dict[str, str], float]]:
    def side(path: Path) -> tuple[dict[str, str], float]:
        from datatrove.pipeline.extractors import Trafilatura
        from datatrove.pipeline.readers import WarcReader

        reader = WarcReader(str(path.parent), glob_pattern=path.name)
        extractor = Trafilatura(timeout=5)
        extractor.extract("<p>a</p>")
        began = time.perf_counter()
        if in_sandbox:  # its default: a process that a hanging page cannot stall
            found = {
                document.metadata["url"]: document.text for document in extractor.run(reader.run())
            }
        else:
            found = {
                document.metadata["url"]: extractor.extract(document.text) or ""
                for document in reader.run()
            }
        return found, time.perf_counter() - began

    return side


ARCHIVE_SIDES: dict[str, Callable[[Path], tuple[dict[str, str], float]]] = {
    "volano": _volano_archive,
    "datatrove's reader and trafilatura": _datatrove_archive(in_sandbox=True),
    "the same without its sandbox": _datatrove_archive(in_sandbox=False),
}


# ---- report


def _report(
    pages: int,
    seconds: dict[str, list[float]],
    scores: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    rows = []
    for side in seconds:
        ratios = [its / ours for its, ours in zip(seconds[side], seconds["volano"], strict=True)]
        rows.append(
            {
                "side": side,
                "pages_per_second": round(pages / median(seconds[side]), 1),
                "volano_times_as_fast": round(median(ratios), 1),
                "range": [round(min(ratios), 1), round(max(ratios), 1)],
                "scores": scores[side],
            }
        )
    return {"pages": pages, "rows": rows}


def _table(report: dict[str, Any]) -> str:
    lines = [f"{report['pages']} pages"]
    for row in report["rows"]:
        figures = "; ".join(
            f"{name}: P {its['precision']:.3f} R {its['recall']:.3f} F1 {its['f1']:.3f}"
            for name, its in row["scores"].items()
        )
        low, high = row["range"]
        lines.append(
            f"{row['side']:36} {row['pages_per_second']:8.1f} pages/s  volano "
            f"{row['volano_times_as_fast']}x ({low}-{high})  {figures}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
