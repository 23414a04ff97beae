"""The mixture of a curated corpus: how often training reads each document, written beside it.

Behind all filters, from the finished shards alone: so another mixture needs nothing to be curated
again (see earlier.take_over). Which documents make up the fraction of an epoch is decided by a hash
of seed, group and id. So the passes of a document depend on nothing but these and the epochs of
its group, and a group that is read more often reads all that it read before.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from volano.core.corpus import Corpus, read_shard, write_shard
from volano.core.errors import DataError, did_you_mean
from volano.core.mixture import MIX, TRAIN, Mixture, Portion
from volano.core.step import Context
from volano.curate.mix_section import NAMES, MixSection
from volano.curate.mix_shares import MOST_NOTES, Plan, check_names, planned, written_size

Array = npt.NDArray[Any]
ATTRIBUTES = {"language": "language.language", "bucket": "perplexity.bucket"}
MISSING = {
    "licence": "not stated",
    "language": "not told",
    "bucket": "not measured",
    "domain": "no address",
}
IN_MANIFEST = {"source": "sources", "kind": "kinds", "licence": "licences"}
OFF_PLAN = 0.1  # of the planned bytes; from here on what was drawn is worth a note


def check_mix(section: MixSection, documents: Corpus) -> None:
    """Raise DataError for a group that the collected documents cannot have, before any work."""
    if section.by in IN_MANIFEST:
        check_names(section, documents.manifest[IN_MANIFEST[section.by]])


def mix(section: MixSection, context: Context) -> Mixture:
    """Write mixture.json and the attributes `mix` of the corpus in `context.folder`.

    Its shards are complete. Raises DataError where the wishes cannot be met.
    """
    shards = sorted((context.folder / "data").glob("*.parquet"))
    grouped = [context.scratch / "grouped" / path.name for path in shards]
    written = [context.folder / "attributes" / MIX / path.name for path in shards]
    with context.progress("curate: mix", 2 * len(shards), "shards") as bar:
        context.engine.map(
            partial(_group, folder=context.folder, by=section.by), shards, grouped, bar=bar
        )
        sizes, documents = _sizes(grouped)
        if not sizes:
            raise DataError(
                "no document of split train is left to mix",
                "curate.mix",
                "Loosen the filters, or switch it off: mix=off.",
            )
        check_names(section, _names(grouped))
        plan = planned(sizes, section)
        context.engine.map(
            partial(_draw, epochs=plan.epochs, seed=section.seed), grouped, written, bar=bar
        )
    mixture = _mixture(section, plan, sizes, documents, grouped, written)
    mixture.save(context.folder)
    return mixture


def draws(ids: Sequence[str], groups: Sequence[str], seed: int) -> Array:
    """A number in [0, 1) per document, from seed, group and id alone."""
    found = np.empty(len(ids))
    for row, (name, group) in enumerate(zip(ids, groups, strict=True)):
        text = f"{seed}\0{group}\0{name}".encode()
        found[row] = int.from_bytes(hashlib.blake2b(text, digest_size=6).digest()) / 2**48
    return found


def passes_of(draw: Array, epochs: Array) -> Array:
    """How often each document is read: the whole epochs of its group, and once more where its draw
    lies below their fraction."""
    whole = np.floor(epochs)
    passes: Array = (whole + (draw < epochs - whole)).astype(np.int32)
    return passes


# ---- over shards


def _group(shard: Path, output: Path, *, folder: Path, by: str) -> None:
    # Of every document, dropped ones too, in the order of the attributes: id, group, whether it
    # was kept, and the bytes that training may read of it.
    decisions = read_shard(folder / "attributes" / "decision" / shard.name)
    kept = pc.is_null(decisions["dropped_by"]).to_numpy()
    data = read_shard(shard, ["text", "split"])
    train = pc.equal(data["split"], TRAIN).fill_null(False).to_numpy()
    size = np.zeros(len(kept), np.int64)
    size[kept] = pc.binary_length(data["text"]).fill_null(0).to_numpy() * train
    write_shard(
        output,
        pa.table(
            {
                "id": decisions["id"],
                "group": _groups(folder, shard, kept, by),
                "kept": pa.array(kept),
                "bytes": pa.array(size),
            }
        ),
    )


def _groups(folder: Path, shard: Path, kept: Array, by: str) -> pa.Array:
    name = ATTRIBUTES.get(by, by)
    if "." in name:
        column = _attribute(folder, shard, name)
    else:
        column = _own_column(folder, shard, kept, "url" if by == "domain" else by)
    if by == "domain":
        column = pa.array([_host(url) for url in column.to_pylist()], pa.string())
    return column.cast(pa.string()).fill_null(MISSING.get(by, "none"))


def _attribute(folder: Path, shard: Path, name: str) -> pa.ChunkedArray:
    group, _, column = name.partition(".")
    path = folder / "attributes" / group / shard.name
    table = read_shard(path) if path.is_file() else pa.table({})
    if column in table.column_names and _is_text(table[column].type):
        return table[column]
    known = list(NAMES)
    for other in sorted(folder.glob(f"attributes/*/{shard.name}")):
        if other.parent.name not in (MIX, "decision"):
            schema = read_shard(other).schema
            known += [
                f"{other.parent.name}.{field.name}"
                for field in schema
                if _is_text(field.type) and field.name != "id"
            ]
    what = "is a number, not a group" if column in table.column_names else "was not measured"
    raise DataError(f"'{name}' {what}", "curate.mix.by", did_you_mean(name, known))


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind)
    )


def _own_column(folder: Path, shard: Path, kept: Array, name: str) -> pa.Array:
    tables = [read_shard(shard, [name])]
    if not kept.all():
        tables.append(read_shard(folder / "dropped" / shard.name, [name]))
    place = np.empty(len(kept), np.int64)
    place[kept] = np.arange(kept.sum())
    place[~kept] = np.arange(kept.sum(), len(kept))
    return pa.concat_tables(tables)[name].combine_chunks().take(pa.array(place))


def _host(url: str | None) -> str | None:
    try:
        return urlsplit(url or "").hostname  # in small letters, without port
    except ValueError:
        return None


def _draw(grouped: Path, output: Path, *, epochs: dict[str, float], seed: int) -> None:
    table = read_shard(grouped)
    groups = table["group"].to_pylist()
    wanted = np.array([epochs.get(group, 0.0) for group in groups])
    wanted[table["bytes"].to_numpy() == 0] = 0
    passes = passes_of(draws(table["id"].to_pylist(), groups, seed), wanted)
    gone = pc.invert(table["kept"]).to_numpy()
    write_shard(output, table.select(["id", "group"]).append_column(
        "passes", pa.array(passes, pa.int32(), mask=gone)))  # fmt: skip


# ---- over groups


def _sizes(grouped: Sequence[Path]) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes and documents of each group that training may read any text of."""
    sizes: dict[str, int] = {}
    documents: dict[str, int] = {}
    for path in grouped:
        table = read_shard(path, ["group", "bytes"])
        table = table.filter(pc.greater(table["bytes"], 0))
        counted = table.group_by("group").aggregate([("bytes", "sum"), ("bytes", "count")])
        for row in counted.to_pylist():
            name = row["group"]
            sizes[name] = sizes.get(name, 0) + row["bytes_sum"]
            documents[name] = documents.get(name, 0) + row["bytes_count"]
    return sizes, documents


def _names(grouped: Sequence[Path]) -> set[str]:
    """Every group, those too of which nothing is left."""
    return {
        name
        for path in grouped
        for name in read_shard(path, ["group"])["group"].unique().to_pylist()
    }


def _mixture(
    section: MixSection,
    plan: Plan,
    sizes: dict[str, int],
    documents: dict[str, int],
    grouped: Sequence[Path],
    written: Sequence[Path],
) -> Mixture:
    read_bytes = dict.fromkeys(sizes, 0)
    read_documents = dict.fromkeys(sizes, 0)
    for path, drawn in zip(grouped, written, strict=True):
        table = read_shard(path, ["group", "bytes"])
        table = table.append_column("passes", read_shard(drawn, ["passes"])["passes"])
        table = table.filter(pc.greater(table["passes"], 0))
        size = pc.multiply(table["bytes"], table["passes"].cast(pa.int64()))
        counted = pa.table({"group": table["group"], "bytes": size})
        counted = counted.group_by("group").aggregate([("bytes", "sum"), ("bytes", "count")])
        for row in counted.to_pylist():
            read_bytes[row["group"]] += row["bytes_sum"]
            read_documents[row["group"]] += row["bytes_count"]
    total, whole = sum(read_bytes.values()), sum(sizes.values())
    if not total:
        raise DataError(
            f"no document was drawn: {sum(documents.values()):,} documents of "
            f"{written_size(whole)} are too few to take so small a part of",
            "curate.mix",
            "Raise the size, or give another seed.",
        )
    portions = [
        Portion(
            group=name,
            documents=documents[name],
            bytes=sizes[name],
            natural_share=round(sizes[name] / whole, 6),
            wanted_share=plan.shares[name],
            planned_epochs=plan.epochs[name],
            documents_read=read_documents[name],
            bytes_read=read_bytes[name],
            got_share=round(read_bytes[name] / total, 6),
        )
        for name in sorted(sizes)
    ]
    off = [each for each in portions if _is_off(each)]
    off.sort(key=lambda each: -abs(each.planned_epochs - each.epochs) * each.bytes)
    notes = plan.notes + [
        f"'{each.group}' has {each.documents:,} documents, drawn whole: "
        f"{written_size(each.planned_epochs * each.bytes)} were planned, "
        f"{written_size(each.bytes_read)} are read"
        for each in off[:MOST_NOTES]
    ]
    if len(off) > MOST_NOTES:
        notes.append(f"so it is with {len(off) - MOST_NOTES:,} groups more")
    return Mixture(section.by, section.seed, section.max_epochs, tuple(portions), tuple(notes))


def _is_off(portion: Portion) -> bool:
    return abs(portion.epochs - portion.planned_epochs) > OFF_PLAN * portion.planned_epochs
