"""How much memory curation takes as the corpus grows: `volano curate` on 1×, 4× and 16× the text.

    python benchmarks/memory.py FILES… [--megabytes 25] [--sizes 1,4,16] [--set KEY=VALUE]… [--json]

The corpora are made of the sentences of FILES (JSONL with a field `text`, or plain text, also .gz),
drawn anew for each document with a fixed seed: no document is a copy of another, so that nothing
falls to deduplication and what grows with the number of documents is seen. Each size is one run of
the command in a process of its own, collection included, with all filters in their defaults.

`command` and `worker` are the most resident memory that the first process, sampled every 20 ms, and
any other one, by the kernel's own mark, ever had. `together` is the largest sum of all that they
had at one time, pages that they share counted once; it is sampled four times a second, as asking
for it costs time. `collect` and `curate` are what the command itself writes into its bills. A small
run that nobody looks at goes first, as compiling kernels takes memory of its own.
"""

import argparse
import gzip
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

SEED = 1
SAMPLE_SECONDS = 0.02
SAMPLES_OF_SUM = 12  # one sum every so many samples
WARM_UP_BYTES = 1_000_000
FILE_BYTES = 32_000_000
PARAGRAPH_SENTENCES, DOCUMENT_SENTENCES = 5, (4, 40)
_END = re.compile(r"(?<=[.!?])\s+")
MIN_SENTENCE_CHARACTERS, MAX_SENTENCE_CHARACTERS = 30, 300


def main() -> None:
    """Measure every size and print a row per size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path, help="JSONL or plain text, also .gz")
    parser.add_argument("--megabytes", type=float, default=25, help="text of size 1, default 25")
    parser.add_argument("--sizes", default="1,4,16", help="multiples of it, default 1,4,16")
    parser.add_argument("--set", action="append", default=[], help="a setting of the curation")
    parser.add_argument("--work", type=Path, help="a folder with room for corpora and results")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    options = parser.parse_args()
    sentences = [each for path in options.files for each in _sentences(path)]
    if len(sentences) < 1000:
        sys.exit(f"only {len(sentences)} sentences in these files; 1,000 are needed.")
    rows = []
    for size in [0, *map(int, options.sizes.split(","))]:
        with tempfile.TemporaryDirectory(dir=options.work) as folder:
            corpus, store = Path(folder) / "corpus", Path(folder) / "store"
            wanted = int(size * options.megabytes * 1e6) or WARM_UP_BYTES
            text_bytes = _write(corpus, sentences, wanted)
            row = _row(size, text_bytes, corpus, store, options.set)
        if size:
            rows.append(row)
            print(json.dumps(row) if options.json else _line(row), flush=True)
    if not options.json:
        print("\n" + _table(rows))


def _sentences(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as stream:
        for line in stream:
            text = json.loads(line)["text"] if ".jsonl" in path.name else line
            for sentence in _END.split(" ".join(text.split())):
                if MIN_SENTENCE_CHARACTERS <= len(sentence) <= MAX_SENTENCE_CHARACTERS:
                    yield sentence


def _write(folder: Path, sentences: Sequence[str], text_bytes: int) -> int:
    chance = random.Random(SEED)
    folder.mkdir()
    written = part = 0
    while written < text_bytes:
        limit = min(FILE_BYTES, text_bytes - written)
        with (folder / f"{part:04d}.jsonl").open("w") as stream:
            size = 0
            while size < limit:
                text = _document(sentences, chance)
                stream.write(json.dumps({"text": text}) + "\n")
                size += len(text.encode())
        written += size
        part += 1
    return written


def _document(sentences: Sequence[str], chance: random.Random) -> str:
    drawn = chance.choices(sentences, k=chance.randint(*DOCUMENT_SENTENCES))
    starts = range(0, len(drawn), PARAGRAPH_SENTENCES)
    return "\n\n".join(" ".join(drawn[at : at + PARAGRAPH_SENTENCES]) for at in starts)


def _row(
    size: int, text_bytes: int, corpus: Path, store: Path, settings: Sequence[str]
) -> dict[str, Any]:
    command = [sys.executable, "-m", "volano", "curate", str(corpus), "--store", str(store)]
    command += ["--json", *(part for each in settings for part in ("--set", each))]
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        peaks = _watch(run)
        out = run.stdout.read() if run.stdout else ""
    seconds = time.perf_counter() - begun
    if run.returncode:
        sys.exit(f"the command failed ({run.returncode}) on size {size}.")
    stages = {each["phase"]: each for each in json.loads(out)}
    manifest = json.loads((store / stages["curate"]["artifact"] / "manifest.json").read_text())
    return {
        "size": size,
        "megabytes": text_bytes / 1e6,
        "collected": manifest["funnel"][0]["documents"],
        "kept": manifest["records"],
        "seconds": seconds,
        "megabytes_a_second": text_bytes / 1e6 / seconds,
        **{f"{name}_peak_megabytes": value / 1e6 for name, value in peaks._asdict().items()},
        **{
            f"{phase}_peak_megabytes": stage["bill"].get("peak_memory_bytes", 0) / 1e6
            for phase, stage in stages.items()
        },
    }


class _Peaks(NamedTuple):
    together: int
    command: int
    worker: int


def _watch(run: "subprocess.Popen[str]") -> _Peaks:
    together = command = worker = samples = 0
    while run.poll() is None:
        parts = [run.pid, *_children(run.pid)]
        samples += 1
        if samples % SAMPLES_OF_SUM == 0:
            shares = [_kilobytes(each, "smaps_rollup", "Pss:") for each in parts]
            together = max(together, sum(shares))
        command = max(command, _kilobytes(run.pid, "status", "VmRSS:"))
        for each in parts[1:]:
            worker = max(worker, _kilobytes(each, "status", "VmHWM:"))
        time.sleep(SAMPLE_SECONDS)
    return _Peaks(together * 1024, command * 1024, worker * 1024)


def _children(parent: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{parent}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_children(child)]
    return found


def _kilobytes(process: int, file: str, field: str) -> int:
    # One that has ended meanwhile has none.
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{process}/{file}").read_text().split(field)[1].split()[0])
    return 0


COLUMNS = {
    "size": "{size}×",
    "text MB": "{megabytes:,.0f}",
    "documents": "{collected:,}",
    "kept": "{kept:,}",
    "seconds": "{seconds:.0f}",
    "MB/s": "{megabytes_a_second:.1f}",
    "together MB": "{together_peak_megabytes:,.0f}",
    "command MB": "{command_peak_megabytes:,.0f}",
    "worker MB": "{worker_peak_megabytes:,.0f}",
    "collect MB": "{collect_peak_megabytes:,.0f}",
    "curate MB": "{curate_peak_megabytes:,.0f}",
}


def _line(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {form.format(**row)}" for name, form in COLUMNS.items())


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---:|" * len(COLUMNS)]
    lines += [
        "| " + " | ".join(form.format(**row) for form in COLUMNS.values()) + " |" for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
