import hashlib
from collections import Counter
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.curate.conftest import OTHERS
from volano.core.corpus import read_shard
from volano.core.records import Document
from volano.curate import boilerplate
from volano.curate.boilerplate import cut_samples, sites_of
from volano.curate.funnel import funnel
from volano.text.kernels.site_lines import boilerplate_lines
from volano.text.kernels.spans import span_hashes, without_spans

MENU, NOTICE, HEADING = "Home | Harbour | Ships", "© The harbour. All rights.", "What happened"
ALONE = {"exact": "off", "minhash": "off"}


def story(n):
    return (
        f"The ship number {n} left the harbour on day {n} and came back with {n} barrels of fish.\n"
        f"{HEADING}\nNobody on board of number {n} wanted to say where all of the {n} came from."
    )


def page(n, host="www.harbour.example", **fields):
    text = fields.pop("text", f"{MENU}\n\n{story(n)}\n\n{NOTICE}")
    return Document(
        id=f"{host}-{n}", text=text, source="crawl", url=f"https://{host}/{n}?a=b", **fields
    )


def curated(dedup, documents, run="run", per_shard=3, workers=2, **settings):
    section = {"min_documents": 5, "max_document_fraction": 0.5, **settings}
    others = {**OTHERS, "boilerplate": section}
    return dedup(documents, run=run, others=others, per_shard=per_shard, workers=workers, **ALONE)


def texts(corpus):
    return dict(zip(*corpus.to_arrow(["id", "text"]).to_pydict().values(), strict=True))


def test_what_a_site_repeats_goes_at_both_ends_and_a_heading_stays(dedup):
    small = [page(n, "small.example") for n in range(4)]
    corpus = curated(dedup, [*map(page, range(6)), *small])
    assert texts(corpus) == {
        **{f"www.harbour.example-{n}": story(n) for n in range(6)},
        **{each.id: each.text for each in small},  # too few documents to judge by
    }
    row = corpus.attributes("boilerplate").to_pylist()[0]
    size = len(f"{MENU}\n\n\n\n{NOTICE}".encode())
    words = len(story(0).split())
    assert row == {"id": "www.harbour.example-0", "site": "harbour.example", "cut_lines": 2,
                   "cut_bytes": size, "words_left": words}  # fmt: skip
    first = read_shard(corpus.shards("cut")[0]).to_pylist()[0]
    assert (first["site"], first["lines"]) == ("harbour.example", [MENU, NOTICE])
    assert [(each.line, each.documents) for each in cut_samples(corpus, 9)] == [
        (MENU, 6), (NOTICE, 6)]  # fmt: skip


def test_anywhere_takes_headings_too_and_leaves_one_blank_line(dedup):
    documents = [page(n, text=f"{MENU}\n\nStory {n}\n\n{NOTICE}\n\nEnd {n}") for n in range(6)]
    found = texts(curated(dedup, documents, place="anywhere", min_words_left=0))
    assert found["www.harbour.example-3"] == "Story 3\n\nEnd 3"
    found = texts(curated(dedup, documents, run="ends", min_words_left=0))
    assert found["www.harbour.example-3"] == f"Story 3\n\n{NOTICE}\n\nEnd 3"


def test_one_page_under_many_addresses_is_no_template(dedup):
    copies = [page(n, text=f"{MENU}\n{story(7)}") for n in range(20)]
    others = [page(n, text=f"{MENU}\n{story(n)}") for n in range(20, 26)]
    found = texts(curated(dedup, [*copies, *others]))
    assert found["www.harbour.example-0"] == story(7)  # 20 of 26 documents, but one of 7 texts
    assert found["www.harbour.example-21"] == story(21)


def test_what_is_left_with_too_little_falls_first_and_the_funnel_adds_up(dedup):
    empty = page(99, text=f"{MENU}\n\nNo such page\n{NOTICE}")
    corpus = curated(dedup, [*map(page, range(6)), empty])
    (gone,) = corpus.dropped().to_pylist()
    assert (gone["text"], gone["dropped_by"]) == (empty.text, "boilerplate")
    decision = corpus.attributes("decision").to_pylist()[-1]
    assert (decision["value"], decision["threshold"]) == (3, 20)
    assert decision["evidence"].endswith("bytes stand in other documents of harbour.example")
    rows = funnel(corpus)
    assert (rows[1].filter, rows[1].documents_dropped) == ("boilerplate", 1)
    assert rows[0].bytes - rows[1].bytes_dropped - rows[1].bytes_cut == rows[-1].bytes
    assert rows[-1].bytes == sum(len(text.encode()) for text in texts(corpus).values())


def test_code_is_neither_cut_nor_counted_and_a_source_stands_for_a_host(dedup):
    code = [page(n, kind="code") for n in range(6)]
    plain = [Document(id=f"p{n}", text=page(n).text, source="books") for n in range(6)]
    found = texts(curated(dedup, [*code, page(7), *plain]))
    assert found["www.harbour.example-3"] == page(3).text
    assert found["www.harbour.example-7"] == page(7).text  # the only one of its site that counts
    assert found["p3"] == story(3)


def test_result_depends_neither_on_ranges_nor_workers_nor_a_kill(dedup, tmp_path, monkeypatch):
    def digests(run):
        files = sorted((tmp_path / run).glob("**/0*.parquet"))
        return [hashlib.sha256(each.read_bytes()).hexdigest() for each in files]

    documents = [page(n, f"s{n % 3}.example") for n in range(30)]
    curated(dedup, documents, run="whole", workers=1)
    monkeypatch.setattr(boilerplate, "LINES_AT_ONCE", 8)
    curated(dedup, documents, run="cut")
    scratch = tmp_path / "cut-scratch/boilerplate"
    assert len(list((scratch / "counts").iterdir())) > 3
    for lost in ("lines/00001.npy", "counts/00002.npy", "common.npy"):
        (scratch / lost).unlink()
    (tmp_path / "cut-scratch/measured/00003.parquet").unlink()
    for lost in ("data/00003.parquet", "manifest.json"):
        (tmp_path / "cut" / lost).unlink()
    curated(dedup, documents, run="cut")
    assert digests("cut") == digests("whole")


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://WWW.Harbour.Example:8080/a", "harbour.example"),
        ("http://me:secret@www.a.b.example?x=//c.example", "a.b.example"),
        ("https://[2001:db8::1]:80/", "[2001:db8::1]"),
        ("ftp://files.example#part", "files.example"),
        ("no address at all", "crawl"),
        ("https://", "crawl"),
        (None, "crawl"),
    ],
)
def test_the_site_is_the_host(url, site):
    table = pa.table({"url": pa.array([url], pa.string()), "source": ["crawl"]})
    assert sites_of(table).to_pylist() == [site]
    if url and site != "crawl":
        assert urlsplit(url).netloc.lower().endswith((site, f"{site}:80", f"{site}:8080"))


LINE = st.sampled_from(["menu", "notice", "", " ", "\u3000", "é", "one", "two two", "\U0001f6a2"])
DOCUMENT = st.lists(LINE, max_size=8).map("\n".join)


def plain_cut(pages, site_of, fewest, fraction, ends_only):
    """The definition, line by line."""
    left = []
    for text, site in zip(pages, site_of, strict=True):
        distinct = {other for other, its in zip(pages, site_of, strict=True) if its == site}
        counts = Counter(
            bare for other in distinct for bare in {" ".join(x.split()) for x in other.split("\n")}
        )
        lines = text.split("\n")

        def is_common(line, counts=counts, distinct=distinct):
            many = counts[" ".join(line.split())] > fraction * len(distinct)
            return bool(line.split()) and len(distinct) >= fewest and many

        if ends_only:
            for _ in range(2):  # from the front, then from behind
                end = next(
                    (i for i, x in enumerate(lines) if x.split() and not is_common(x)), len(lines)
                )
                lines = lines[end:] if any(map(is_common, lines[:end])) else lines
                lines.reverse()
        else:
            kept, cut = [], False
            for line in lines:
                blank_before = not kept or not kept[-1].split()
                if is_common(line):
                    cut = True
                elif line.split() or not (cut and blank_before):
                    kept.append(line)
                    cut = False
            lines = kept
        left.append("\n".join(lines))
    return left


@given(st.lists(DOCUMENT, min_size=1, max_size=8), st.data(), st.booleans())
def test_cut_is_that_of_the_definition(pages, data, ends_only):
    sites = data.draw(st.lists(st.sampled_from("ab"), min_size=len(pages), max_size=len(pages)))
    # By white space alone, as exact copies are told.
    plain = [f"{text}\nof {n}" for n, text in enumerate(pages)]
    expected = plain_cut(plain, sites, 2, 0.5, ends_only)
    found = span_hashes(pa.array(plain, pa.large_string()), "line")
    counts = {
        site: Counter(
            key
            for row, its in enumerate(sites)
            if its == site
            for key in set(found.hashes[found.bounds[row] : found.bounds[row + 1]].tolist())
        )
        for site in "ab"
    }
    common = [
        bool(found.words[line])
        and sites.count(sites[row]) >= 2
        and counts[sites[row]][int(found.hashes[line])] > 0.5 * sites.count(sites[row])
        for row in range(len(plain))
        for line in range(found.bounds[row], found.bounds[row + 1])
    ]
    gone = boilerplate_lines(
        pa.array(common, pa.bool_()).to_numpy(zero_copy_only=False),
        found.words,
        found.bounds,
        ends_only=ends_only,
    )
    cut = without_spans(pa.array(plain, pa.large_string()), "line", gone).to_pylist()
    assert cut == expected
