"""Lines that a site repeats: how much of its template is cut, how much of its texts, and how fast.

    python benchmarks/boilerplate.py [--warc FILES…] [--template SELECTOR] [--pages PAGES.jsonl.gz…]
        [--texts FILES…] [--json]

--warc: all visible text of the HTML pages of web archives; template is what stands in the elements
that the CSS selector names, and pages without one are left out. --pages: rows with `url`, `html`
and `gold`, the main text; template are lines that are no part of it. Of hosts with so few pages
two must do, so every line of both is taken. Figures count characters of lines: of those cut how
many are template (precision), of the template how many are cut (recall), and of the rest how many
are cut (lost). All through `volano.curate` with nothing else on.

--texts: JSONL with `text`; every document is given one of so many sites, and the clock runs over
counting, cutting and writing on one core, beside the same without boilerplate.
"""

import argparse
import gzip
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

OFF = dict.fromkeys(("language", "quality", "toxicity", "decontaminate", "dedup", "pii"), "off")
SELECTOR = "header, footer, nav, aside"
SITES = 100
SETTINGS = [
    {"place": place, "max_document_fraction": fraction}
    for place in ("ends", "anywhere")
    for fraction in (0.1, 0.2, 0.5)
]
PAIR = [{"place": place, "max_document_fraction": 0.9} for place in ("ends", "anywhere")]


class Page(NamedTuple):
    """A page's lines, and which of them are template."""

    url: str
    lines: list[str]
    is_template: list[bool]


def main() -> None:
    """Print a table per set of pages."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--warc", nargs="+", type=Path, default=[])
    parser.add_argument("--template", default=SELECTOR, help="elements that hold the template")
    parser.add_argument("--pages", nargs="+", type=Path, default=[])
    parser.add_argument("--texts", nargs="+", type=Path, default=[])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for path in options.warc:
        pages = list(_archived(path, options.template))
        found[path.name] = _measured(pages, SETTINGS, {"min_documents": 5})
    for path in options.pages:
        found[path.name] = _measured(_with_gold(path), PAIR, {"min_documents": 2})
    if options.texts:
        found["speed"] = _speed(options.texts)
    print(json.dumps(found, indent=2) if options.json else "\n\n".join(_told(found)))


def _archived(path: Path, selector: str) -> Iterator[Page]:
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.parse.html import HTMLTree

    with path.open("rb") as stream:
        for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
            kind = record.http_headers.get("Content-Type", "") if record.http_headers else ""
            if "html" not in (kind or ""):
                continue
            html = record.reader.read().decode("utf-8", "replace")
            whole, tree = _lines(html), HTMLTree.parse(html)
            elements = tree.body.query_selector_all(selector) if tree.body else []
            for element in elements:
                element.parent.remove_child(element)
            main = {_bare(line) for line in _lines(str(tree))}
            if elements and whole:
                url = record.headers["WARC-Target-URI"]
                yield Page(url, whole, [_bare(line) not in main for line in whole])


def _with_gold(path: Path) -> list[Page]:
    opened = gzip.open if path.suffix == ".gz" else open
    pages = []
    with opened(path, "rt", encoding="utf-8", newline="\n") as rows:
        for row in map(json.loads, rows):
            gold = _bare(row["gold"])
            lines = _lines(row["html"])
            pages.append(Page(row["url"], lines, [_bare(line) not in gold for line in lines]))
    hosts = [urlsplit(page.url).hostname for page in pages]
    return [page for page, host in zip(pages, hosts, strict=True) if hosts.count(host) > 1]


def _lines(html: str) -> list[str]:
    from resiliparse.extract.html2text import extract_plain_text

    return [
        line for line in extract_plain_text(html, main_content=False).split("\n") if _bare(line)
    ]


def _bare(line: str) -> str:
    return " ".join(line.strip(" •\t").split())


def _measured(
    pages: Sequence[Page], settings: Sequence[dict[str, Any]], base: dict[str, Any]
) -> dict[str, Any]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "pages.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for place, page in enumerate(pages):
                row = {"id": str(place), "url": page.url, "text": "\n".join(page.lines)}
                file.write(json.dumps(row) + "\n")
        for asked in settings:
            section = base | asked | {"min_words_left": 0}
            rows.append(asked | _score(pages, _left(path, Path(name) / "store", section)))
    hosts = {urlsplit(page.url).hostname for page in pages}
    return {"pages": len(pages), "hosts": len(hosts), "rows": rows}


def _left(path: Path, store: Path, section: dict[str, Any]) -> dict[int, list[str]]:
    import volano

    made = volano.curate([str(path)], store=store, **OFF, boilerplate=section)
    table = made.corpus().to_arrow(["id", "text"]).to_pylist()
    return {int(row["id"].rpartition(":")[2]): row["text"].split("\n") for row in table}


def _score(pages: Sequence[Page], left: dict[int, list[str]]) -> dict[str, float]:
    cut = right = template = others = 0
    for place, page in enumerate(pages):
        stays = iter(left[place])
        ahead = next(stays, None)
        for line, is_template in zip(page.lines, page.is_template, strict=True):
            size = len(_bare(line))
            template += size * is_template
            others += size * (not is_template)
            if line == ahead:  # what is left is in the order of the page
                ahead = next(stays, None)
            else:
                cut += size
                right += size * is_template
    figures = {
        "precision": right / max(cut, 1),
        "recall": right / max(template, 1),
        "lost": (cut - right) / max(others, 1),
    }
    counts = {"cut": cut, "template": template, "others": others}
    return {name: round(value, 4) for name, value in figures.items()} | counts


def _speed(files: Sequence[Path]) -> list[dict[str, Any]]:
    import volano

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = []
    with tempfile.TemporaryDirectory() as name:
        path, count = Path(name) / "texts.jsonl", 0
        with path.open("w", encoding="utf-8") as file:
            for each in files:
                opened = gzip.open if each.suffix == ".gz" else open
                with opened(each, "rt", encoding="utf-8", newline="\n") as lines:
                    for row in map(json.loads, lines):
                        url = f"https://site{count % SITES}.example/{count}"
                        file.write(json.dumps({"text": row["text"], "url": url}) + "\n")
                        count += 1
        for asked in ("off", "on"):
            made = volano.curate([str(path)], store=Path(name) / "s", **OFF, boilerplate=asked)
            bill, size = made.bill(), made.corpus().manifest["funnel"][0]["bytes"]
            names = ("boilerplate_seconds", "measure_seconds", "write_seconds")
            rows.append({"boilerplate": asked, "documents": count, "bytes": size}
                        | {each: round(bill.get(each, 0), 2) for each in names})  # fmt: skip
    spent = [sum(value for key, value in row.items() if "seconds" in key) for row in rows]
    rows[1]["mb_per_second"] = round(rows[1]["bytes"] / 1e6 / max(spent[1] - spent[0], 1e-9), 1)
    return rows


def _told(found: dict[str, Any]) -> Iterator[str]:
    for name, each in found.items():
        if name == "speed":
            yield "\n".join(map(str, each))
            continue
        lines = [f"{name}: {each['pages']} pages of {each['hosts']} hosts"]
        lines += [
            f"    {row['place']:<9} above {row['max_document_fraction']:.1f} of the pages: "
            f"precision {row['precision']:.3f}, recall {row['recall']:.3f}, lost {row['lost']:.4f} "
            f"({row['cut']:,} characters cut of {row['template'] + row['others']:,})"
            for row in each["rows"]
        ]
        yield "\n".join(lines)


if __name__ == "__main__":
    main()
