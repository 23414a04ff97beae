"""datatrove's side of benchmarks/curate.py; run by the Python of `make peers`, never by ours.

    build/peers/bin/python benchmarks/datatrove_curate.py WORK DOCUMENTS.jsonl RESULT.json

Documents are in memory before the clock starts, and filters are warm, as in a long run. spaCy
splits a document once for all filters, by datatrove's own cache.
"""

import importlib.metadata  # noqa: F401  # datatrove uses it without importing it
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

WARM = "A harbour of the town. It is deep and has been in use, and that is all."


def main(work: str, documents: str, result: str) -> None:
    """Do the work, print its seconds, and leave what came of it in `result`."""
    with open(documents, encoding="utf-8", newline="\n") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    works: dict[str, Callable[[list[str]], tuple[float, object]]] = {
        "rules, every one": lambda texts: rules(texts, chained=False),
        "rules, in a chain": lambda texts: rules(texts, chained=True),
        "e-mail and IP addresses": personal_data,
        "language": language,
        "near-duplicates": near_duplicates,
        "whole, JSONL.zst to Parquet": whole,
    }
    seconds, found = works[work](texts)
    Path(result).write_text(json.dumps(found), encoding="utf-8")
    print(seconds)


def rules(texts: list[str], *, chained: bool) -> tuple[float, object]:
    """Per document the rules that drop it; in a chain the first one only, and C4 edits."""
    filters = {
        "gopher_repetition": GopherRepetitionFilter(),
        "gopher_quality": GopherQualityFilter(),
        "c4": C4QualityFilter(),
        "fineweb": FineWebQualityFilter(),
    }
    for each in filters.values():
        each.filter(Document(text=WARM, id=""))
    began = time.perf_counter()
    dropped = []
    for text in texts:
        document, by = Document(text=text, id=""), []
        for name, each in filters.items():
            if not chained:
                document = Document(text=text, id="")
            try:
                kept = each.filter(document)
            except (ZeroDivisionError, ValueError):  # a text without words
                kept = False
            if kept is not True:
                by.append(name)
                if chained:
                    break
        dropped.append(by)
    return time.perf_counter() - began, dropped


def personal_data(texts: list[str]) -> tuple[float, object]:
    """Whether each document was changed."""
    from datatrove.pipeline.formatters import PIIFormatter

    formatter = PIIFormatter()
    began = time.perf_counter()
    found = [formatter.format(text) for text in texts]
    seconds = time.perf_counter() - began
    return seconds, [one != other for one, other in zip(found, texts, strict=True)]


def language(texts: list[str]) -> tuple[float, object]:
    """The likeliest language of each document, by the model that Volano's wheel brings."""
    from datatrove.utils import lid

    lid.cached_asset_path_or_download = lambda *_, **__: sys.argv[4]
    model = lid.FT176LID(k=1)
    model.predict(Document(text=WARM, id=""))
    began = time.perf_counter()
    found = [model.predict(Document(text=text, id=""))[0][0] for text in texts]
    return time.perf_counter() - began, found


def near_duplicates(texts: list[str]) -> tuple[float, object]:
    """The documents that go: all four stages, files included."""
    from datatrove.data import DocumentsPipeline
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from loguru import logger

    logger.remove()
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    documents: DocumentsPipeline = (
        Document(text=text, id=str(place)) for place, text in enumerate(texts)
    )
    GopherQualityFilter().filter(Document(text=WARM, id=""))  # loads spaCy
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        MinhashDedupSignature(f"{folder}/signatures", config=config).run(documents, 0, 1)
        buckets = MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config)
        for bucket in range(config.num_buckets):
            buckets.run(None, bucket, config.num_buckets)
        MinhashDedupCluster(f"{folder}/buckets", f"{folder}/remove", config=config).run(None, 0, 1)
        again = (Document(text=text, id=str(place)) for place, text in enumerate(texts))
        kept = [int(each.id) for each in MinhashDedupFilter(f"{folder}/remove").run(again, 0, 1)]
        seconds = time.perf_counter() - began
    return seconds, sorted(set(range(len(texts))) - set(kept))


def whole(texts: list[str]) -> tuple[float, object]:
    """Number of documents that stay, from a compressed file to Parquet, by five pipelines."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.filters import LanguageFilter
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter, ParquetWriter
    from datatrove.utils import lid
    from loguru import logger

    logger.remove()
    lid.cached_asset_path_or_download = lambda *_, **__: sys.argv[4]
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    GopherQualityFilter().filter(Document(text=WARM, id=""))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        _write_compressed(folder / "in/documents.jsonl.zst", texts)
        filtered = str(folder / "filtered")
        signatures, buckets, remove = (str(folder / each) for each in ("s", "b", "r"))
        pipelines = [
            [
                JsonlReader(str(folder / "in"), compression="infer"),
                LanguageFilter(languages=["en"]),
                GopherRepetitionFilter(),
                GopherQualityFilter(),
                C4QualityFilter(),
                FineWebQualityFilter(),
                JsonlWriter(filtered),
            ],
            [JsonlReader(filtered), MinhashDedupSignature(signatures, config=config)],
            [MinhashDedupBuckets(signatures, buckets, config=config)],
            [MinhashDedupCluster(buckets, remove, config=config)],
            [
                JsonlReader(filtered),
                MinhashDedupFilter(remove),
                PIIFormatter(),
                ParquetWriter(str(folder / "out")),
            ],
        ]
        began = time.perf_counter()
        for number, pipeline in enumerate(pipelines):
            tasks = config.num_buckets if number == 2 else 1
            logs = str(folder / f"logs{number}")
            LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=logs).run()
        seconds = time.perf_counter() - began
        import pyarrow.parquet as pq

        kept = sum(pq.read_metadata(path).num_rows for path in (folder / "out").glob("*.parquet"))
    return seconds, kept


def _write_compressed(path: Path, texts: list[str]) -> None:
    import zstandard

    lines = "".join(
        json.dumps({"text": text, "id": str(place)}) + "\n" for place, text in enumerate(texts)
    )
    path.write_bytes(zstandard.compress(lines.encode()))


if __name__ == "__main__":
    main(*sys.argv[1:4])
