"""Steps small enough to run hundreds of times, importable in worker processes."""

import os
import signal
import time
from pathlib import Path

import pyarrow as pa
from pydantic import Field

from volano.core.corpus import finish_corpus, read_shard, shard_path, write_shard
from volano.core.files import file_digest, write_json
from volano.core.recipe import Section
from volano.core.records import Document, table_of
from volano.core.report import Measurement, Report
from volano.core.step import Entry, Listing, Step

LOG = "VOLANO_TEST_LOG"  # names a file that gets a line whenever a toy step really works


class Numbers(Section):
    shards: int = 2
    rows: int = 3
    pause_seconds: float = 0
    path: str | None = None


class Filter(Section):
    drop: list[str] = Field(default=[])


class Nothing(Section):
    pass


def log(line):
    if os.environ.get(LOG):
        with open(os.environ[LOG], "a") as stream:  # short lines are appended whole
            stream.write(f"{line}\n")


def make_shard(item, output):
    place, rows, pause_seconds = item
    time.sleep(pause_seconds)
    documents = [
        Document(f"d{place * rows + row}", f"text {place} {row}", "toy", licence="MIT")
        for row in range(rows)
    ]
    write_shard(output, table_of(documents))
    log(f"shard {place}")


def run_numbers(section, inputs, context):
    log("numbers")
    places = range(section.shards)
    items = [(place, section.rows, section.pause_seconds) for place in places]
    outputs = [shard_path(context.folder, "data", place) for place in places]
    context.engine.map(make_shard, items, outputs)
    finish_corpus(context.folder, "document")


def scan_numbers(section):
    path = Path(section.path or __file__)
    return Listing((Entry(path.name, path, path.stat().st_size, file_digest(path)),))


def run_seeded(section, inputs, context):
    write_json(context.folder / "seed.json", context.seed)


def run_filter(section, inputs, context):
    log("filter")
    table = inputs["documents"].corpus().to_arrow()
    dropped = pa.array([each in section.drop for each in table["id"].to_pylist()])
    rules = pa.array(["too_short"] * len(section.drop), pa.string())
    write_shard(shard_path(context.folder, "data", 0), table.filter(pa.compute.invert(dropped)))
    write_shard(
        shard_path(context.folder, "dropped", 0),
        table.filter(dropped).append_column("dropped_by", rules),
    )
    finish_corpus(context.folder, "document")


def run_pack(section, inputs, context):
    ids = inputs["documents"].corpus().to_arrow(["id"])["id"]
    write_shard(
        context.folder / "spans.parquet",
        pa.table({"document": ids, "length": pa.array([10] * len(ids), pa.int64())}),
    )


def run_train(section, inputs, context):
    spans = read_shard(inputs["tokens"].folder / "spans.parquet")
    write_shard(
        context.folder / "seen.parquet",
        pa.table({"id": spans["document"], "tokens": spans["length"]}),
    )


def run_tune(section, inputs, context):
    write_json(context.folder / "weights.json", inputs["base"].digest)


def run_measure(section, inputs, context):
    ids = inputs["documents"].corpus().to_arrow(["id"])["id"]
    write_shard(context.folder / "items.parquet", pa.table({"id": ids}))
    Report((Measurement("loss", "base", 1.0, 0.9, 1.1, len(ids), "nats"),)).save(
        context.folder / "report.json"
    )


def run_empty(section, inputs, context):
    """Writes nothing."""


def run_big(section, inputs, context):
    """Eight shards of 0.5 MB that do not compress."""
    for place in range(8):
        output = shard_path(context.folder, "data", place)
        if not output.exists():
            noise = os.urandom(250_000).hex()
            write_shard(output, table_of([Document(f"d{place}", noise, "toy")]))
            log(f"shard {place}")
    finish_corpus(context.folder, "document")


NUMBERS = Step("numbers", "corpus", 1, Numbers, run_numbers)
SCANNED = Step("scanned", "corpus", 1, Numbers, run_numbers, scan=scan_numbers)
SEEDED = Step("seeded", "checkpoint", 1, Nothing, run_seeded, seeded=True)
FILTER = Step("filter", "corpus", 1, Filter, run_filter)
PACK = Step("pack", "tokens", 1, Nothing, run_pack)
TRAIN = Step("train", "checkpoint", 1, Nothing, run_train)
TUNE = Step("tune", "checkpoint", 1, Nothing, run_tune)
MEASURE = Step("measure", "report", 1, Nothing, run_measure)
EMPTY = Step("empty", "corpus", 1, Nothing, run_empty)
BIG = Step("big", "corpus", 1, Nothing, run_big)


# Functions for LocalEngine.map.
def write_item(item, output):
    output.write_text(str(item))
    log(item)


def slow_item(item, output):
    log(f"begin {item}")
    time.sleep(0.3)
    output.write_text(str(item))


def fail_twice(item, output):
    tries = output.with_suffix(".tries")
    with tries.open("a") as stream:
        stream.write("x")
    if item == 1 and len(tries.read_text()) < 3:
        raise ConnectionResetError("flaky")
    output.write_text(str(item))


def always_fail(item, output):
    log(item)
    raise TimeoutError(110, "timed out")


def die_once(item, output):
    """The worker on item 1 is killed from outside the first time."""
    mark = output.with_suffix(".died")
    if item == 1 and not mark.exists():
        mark.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    output.write_text(str(item))


def die_always(item, output):
    if item == 1:
        with output.with_suffix(".deaths").open("a") as stream:
            stream.write("x")
        os._exit(9)
    time.sleep(0.05)
    output.write_text(str(item))


def burn(item, output):
    start = time.process_time()
    while time.process_time() - start < item:
        pass
    output.write_text(str(item))


def raise_what_is_given(item, output):
    raise item


def wait_for_ever(item, output):
    log(os.getpid())
    time.sleep(60)


def slow_with_pid(item, output):
    log(os.getpid())
    time.sleep(0.3)
    output.write_text(str(item))


def unreferenced(store):
    """Artifacts that no label or release stands for, nor anything made from them."""
    return [each for each, holders in store.unlabelled() if not holders]
