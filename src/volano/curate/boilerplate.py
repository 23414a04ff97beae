"""Lines that stand in many documents of one site are cut out before anything else is measured.

What a site puts around its texts (menus, notices, footers) says nothing of them: it misleads the
rules on form, makes two short pages near copies, and is learnt a thousand times. CCNet (Wenzek et
al. 2020) takes such lines out first for the same reasons; that they are told by how many pages of
a site share them is of Bar-Yossef and Rajagopalan 2002 and Gibson et al. 2005.

Three passes, each bounded in memory: URLs alone say which sites have documents enough; their lines
are written as (site and line, document), sorted; ranges of them are counted one by one (ranges.py).
Exact copies of a document count once, as one page under many URLs is no template.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from volano.core.corpus import Corpus, read_shard, write_shard
from volano.core.step import Context
from volano.curate.boilerplate_section import BoilerplateSection
from volano.curate.decision import BOILERPLATE, Decisions
from volano.curate.ranges import ranges_of, read_range, save_array
from volano.text.kernels.hashing import document_hashes
from volano.text.kernels.passages import spaced_words
from volano.text.kernels.site_lines import boilerplate_lines, hashes_of_lines, site_line_keys
from volano.text.kernels.spans import span_hashes, without_spans

Array = npt.NDArray[Any]
LINES_AT_ONCE = 1 << 22  # of a range of hashes: some 400 MB while they are sorted
SITE_COLUMNS = ("url", "source", "kind")
# `document` is half of a hash: of n documents with a line some n² / 2^33 are taken for another.
LINE = np.dtype([("hash", "<u8"), ("document", "<u4"), ("site", "<u4")])
SITE = np.dtype([("hash", "<u8"), ("documents", "<i8")])
COUNT = np.dtype([("hash", "<u8"), ("site", "<u4"), ("documents", "<u4")])
CUT_FOLDER, CUT_LINES = "cut", "scratch.cut_lines"
SAMPLE_SHARDS, LINE_CHARACTERS = 20, 300
# RE2, as Arrow has it: a scheme, perhaps a user, then the host up to port or path.
_HOST = r"^[A-Za-z][A-Za-z0-9+.\-]*://(?:[^/?#@]*@)?(?:www\.)?(?P<host>\[[^\]]*\]|[^/?#:]+)"


class Cleaned(NamedTuple):
    """Texts without boilerplate; columns `site`, `cut_lines`, `cut_bytes`, `words_left` (null where
    nothing was cut); and the lines that were cut out of each (list of string)."""

    texts: pa.LargeStringArray
    columns: dict[str, pa.Array]
    lines: pa.Array


class SampleLine(NamedTuple):
    """A line that was cut out of so many of the documents that were looked at."""

    site: str
    line: str
    documents: int


def sites_of(table: pa.Table) -> pa.LargeStringArray:
    """The site of each document, from its columns `url` and `source`: the host in lower case,
    without "www." and port; without URL the source."""
    # With (?i) alone "WWW." would stay, and hosts are equal in any case.
    urls = pc.utf8_lower(table["url"].combine_chunks().cast(pa.large_string()))
    hosts = pc.struct_field(pc.extract_regex(urls, _HOST), "host")
    return pc.coalesce(hosts, table["source"].combine_chunks().cast(pa.large_string()))


@dataclass(frozen=True)
class Boilerplate:
    """What `find_boilerplate` has found; small, so that it travels to every worker."""

    path: Path  # sorted keys of site and line
    section: BoilerplateSection

    def applied(self, texts: pa.LargeStringArray, about: pa.Table) -> Cleaned:
        """The texts of a shard, whose SITE_COLUMNS are in `about`, without their boilerplate."""
        sites, kinds = sites_of(about), about["kind"].to_pylist()
        found = span_hashes(texts, "line")
        keys = site_line_keys(found.hashes, found.bounds, _hashes(sites))
        common = _is_in(keys, np.load(self.path, mmap_mode="r"))
        counts = np.diff(found.bounds)
        common &= found.words >= self.section.min_words
        common &= np.repeat(~np.isin(np.array(kinds, object), self.section.exempt_kinds), counts)
        ends_only = self.section.place == "ends"
        gone = boilerplate_lines(common, found.words, found.bounds, ends_only=ends_only)
        left = without_spans(texts, "line", gone) if gone.any() else texts
        sizes = [pc.fill_null(pc.binary_length(each), 0) for each in (texts, left)]
        told = gone & (found.words > 0)
        columns = {
            "site": sites,
            "cut_lines": pa.array(np.diff(np.concatenate(([0], np.cumsum(told)))[found.bounds])),
            "cut_bytes": pc.subtract(*sizes),
            "words_left": _words_left(left, is_cut=pc.subtract(*sizes).to_numpy() > 0),
        }
        return Cleaned(left, columns, _lines(texts, told, found.bounds))


def _words_left(texts: pa.LargeStringArray, is_cut: Array) -> pa.Array:
    words = np.zeros(len(texts), np.int64)
    words[is_cut] = np.diff(spaced_words(texts.filter(pa.array(is_cut))).bounds)
    return pa.array(words, mask=~is_cut)


def _lines(texts: pa.LargeStringArray, gone: Array, bounds: Array) -> pa.Array:
    lists: list[list[str] | None] = [None] * len(texts)
    counts = np.diff(bounds)
    for row in np.unique(np.repeat(np.arange(len(texts)), counts)[gone]).tolist():
        lines = texts[row].as_py().split("\n")
        of_row = gone[bounds[row] : bounds[row + 1]]
        lists[row] = [lines[place].strip()[:LINE_CHARACTERS] for place in np.flatnonzero(of_row)]
    return pa.array(lists, pa.list_(pa.string()))


def judge_boilerplate(
    columns: dict[str, pa.Array], section: BoilerplateSection, decisions: Decisions
) -> None:
    """Drop what was cut down to fewer words than the section asks for."""
    words = columns["words_left"].to_numpy(zero_copy_only=False)  # nan where nothing was cut
    decisions.drop(
        np.flatnonzero(words < section.min_words_left),
        BOILERPLATE,
        value=words,
        threshold=float(section.min_words_left),
        evidence=[
            f"words left; {size} bytes stand in other documents of {site}"
            for size, site in zip(
                columns["cut_bytes"].to_pylist(), columns["site"].to_pylist(), strict=True
            )
        ],
    )


def write_cut_lines(folder: Path, name: str, measured: pa.Table) -> None:
    """What was cut out of which document of a shard, as it was collected, as dropped/ is."""
    if CUT_LINES in measured.column_names:
        about = {"site": measured[f"{BOILERPLATE}.site"], "lines": measured[CUT_LINES]}
        lines = pa.table({"id": measured["id"], **about})
        write_shard(folder / CUT_FOLDER / name, lines.filter(pc.is_valid(measured[CUT_LINES])))


# ---- what a site's documents share


def find_boilerplate(
    shards: Sequence[Path], section: BoilerplateSection, context: Context
) -> Boilerplate:
    """Count the lines of every site. Each file that is written is kept after a kill."""
    folder = context.scratch / "boilerplate"
    counted = _outputs(folder / "sites", len(shards))
    context.engine.map(partial(_count_sites, exempt=section.exempt_kinds), shards, counted)
    sites = _large_sites(counted, section.min_documents)
    save_array(folder / "sites.npy", sites)
    lines = _outputs(folder / "lines", len(shards))
    with context.progress("curate: boilerplate", len(shards), "shards") as bar:
        spill = partial(_spill_lines, sites=folder / "sites.npy", section=section)
        context.engine.map(spill, shards, lines, bar=bar)
    ranges = ranges_of(lines, LINES_AT_ONCE)
    counts = _outputs(folder / "counts", ranges)
    # A line of the smallest site must have more documents than this.
    fewest = section.max_document_fraction * section.min_documents
    count = partial(_count_range, ranges=ranges, files=lines, fewest=fewest)
    context.engine.map(count, range(ranges), counts)
    save_array(folder / "common.npy", _common(counts, sites, section))
    return Boilerplate(folder / "common.npy", section)


def _outputs(folder: Path, count: int) -> list[Path]:
    return [folder / f"{number:05d}.npy" for number in range(count)]


def _hashes(values: pa.LargeStringArray) -> Array:
    found: Array = document_hashes(values).to_numpy()
    return found


def _count_sites(shard: Path, output: Path, *, exempt: list[str]) -> None:
    table = read_shard(shard, SITE_COLUMNS)
    table = table.filter(pc.invert(pc.is_in(table["kind"], pa.array(exempt, pa.string()))))
    hashes, counts = np.unique(_hashes(sites_of(table)), return_counts=True)
    sites = np.empty(len(hashes), SITE)
    sites["hash"], sites["documents"] = hashes, counts
    save_array(output, sites)


def _large_sites(counted: Sequence[Path], fewest: int) -> Array:
    # Hashes of the sites, sorted; copies are still counted here, so that some may be too small.
    every = np.concatenate([np.zeros(0, SITE), *map(np.load, counted)])
    hashes, places = np.unique(every["hash"], return_inverse=True)
    documents = np.bincount(places, weights=every["documents"], minlength=len(hashes))
    found: Array = hashes[documents >= fewest]
    return found


def _spill_lines(shard: Path, output: Path, *, sites: Path, section: BoilerplateSection) -> None:
    about = read_shard(shard, SITE_COLUMNS)
    large = np.load(sites)
    own = _hashes(sites_of(about))
    wanted = _is_in(own, large)
    wanted &= ~np.isin(np.array(about["kind"].to_pylist(), object), section.exempt_kinds)
    if not wanted.any():  # most of a crawl's sites have a page or two; their texts are not read
        save_array(output, np.zeros(0, LINE))
        return
    texts = read_shard(shard, ["text"])["text"].combine_chunks().filter(pa.array(wanted))
    own = own[wanted]
    found = span_hashes(texts, "line")
    documents = hashes_of_lines(found.hashes, found.words, found.bounds).astype(np.uint32)
    keys = site_line_keys(found.hashes, found.bounds, own)
    asked = found.words >= section.min_words
    rows = np.repeat(np.arange(len(own)), np.diff(found.bounds))[asked]
    lines = np.empty(len(own) + len(rows), LINE)
    # Each document is an entry under the hash of its site itself: that is how many there are.
    lines["hash"] = np.concatenate((own, keys[asked]))
    lines["document"] = np.concatenate((documents, documents[rows]))
    places = np.searchsorted(large, own)
    lines["site"] = np.concatenate((places, places[rows]))
    save_array(output, lines[np.argsort(lines["hash"], kind="stable")])


def _count_range(
    number: int, output: Path, *, ranges: int, files: Sequence[Path], fewest: float
) -> None:
    lines, _ = read_range(files, number, ranges)
    lines = lines[np.lexsort((lines["document"], lines["hash"]))]
    first = np.ones(len(lines), bool)  # of a line's entries for one document
    first[1:] = (lines["hash"][1:] != lines["hash"][:-1]) | (
        lines["document"][1:] != lines["document"][:-1]
    )
    lines = lines[first]
    begins = np.ones(len(lines), bool)
    begins[1:] = lines["hash"][1:] != lines["hash"][:-1]
    starts = np.flatnonzero(begins)
    counts = np.empty(len(starts), COUNT)
    counts["hash"], counts["site"] = lines["hash"][starts], lines["site"][starts]
    counts["documents"] = np.diff(np.append(starts, len(lines)))
    save_array(output, counts[counts["documents"] > fewest])


def _common(counted: Sequence[Path], sites: Array, section: BoilerplateSection) -> Array:
    documents = np.zeros(len(sites), np.int64)
    for path in counted:
        counts = np.load(path)
        totals = counts[sites[counts["site"]] == counts["hash"]]
        documents[totals["site"]] = totals["documents"]
    parts = [np.zeros(0, np.uint64)]
    for path in counted:  # in the order of their ranges, so that all together are sorted
        counts = np.load(path)
        total = documents[counts["site"]]
        common = counts["documents"] > section.max_document_fraction * total
        common &= total >= section.min_documents
        common &= sites[counts["site"]] != counts["hash"]
        parts.append(counts["hash"][common])
    return np.concatenate(parts)


def _is_in(values: Array, ordered: Array) -> Array:
    if not len(ordered):
        return np.zeros(len(values), bool)
    places = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    found: Array = ordered[places] == values
    return found


# ---- to look at


def cut_samples(corpus: Corpus, count: int) -> list[SampleLine]:
    """The lines that were cut out of most documents, of some shards spread over the corpus."""
    shards = corpus.shards(CUT_FOLDER)
    every = -(-len(shards) // SAMPLE_SHARDS) or 1
    tables = [read_shard(path, ["site", "lines"]) for path in shards[::every]]
    if not tables:
        return []
    table = pa.concat_tables(tables)
    rows = pc.list_parent_indices(table["lines"].combine_chunks())
    flat = pa.table(
        {
            "site": table["site"].combine_chunks().take(rows),
            "document": rows,
            "line": pc.list_flatten(table["lines"].combine_chunks()),
        }
    )
    # A line that stands twice in a document counts once.
    flat = flat.group_by(["site", "document", "line"]).aggregate([])
    counts = flat.group_by(["site", "line"]).aggregate([([], "count_all")])
    order = [("count_all", "descending"), ("site", "ascending"), ("line", "ascending")]
    return [
        SampleLine(row["site"], row["line"], row["count_all"])
        for row in counts.sort_by(order).slice(0, count).to_pylist()
    ]
