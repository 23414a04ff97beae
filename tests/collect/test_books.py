"""Books: texts of Project Gutenberg, EPUB as zipfile packs it, PDF as PDFium writes it."""

import ctypes
import io
import json
import zipfile

import pytest
from reading import collect

from volano.collect.readers.pdf import text_of_pages

HEADER = """\ufeffThe Project Gutenberg EBook of A Mill, by Émile Müller

This eBook is for the use of anyone anywhere at no cost.

Title: A Mill,
       and Its River

Author: Émile Müller

Release Date: June 27, 2008 [EBook #1342]

Language: French

Character set encoding: ISO-8859-1

*** START OF THIS PROJECT GUTENBERG EBOOK A MILL,
AND ITS RIVER ***




Produced by Anonymous Volunteers
and others


"""
BOOK = (
    "CHAPTER I\n\nProduced here by hand.\n\nThe mill stood by the river, “old”.\n\n"
    "*** A line of stars ***\n\nIt turned."
)
FOOTER = """


End of the Project Gutenberg EBook of A Mill, by Émile Müller

*** END OF THIS PROJECT GUTENBERG EBOOK A MILL ***

***** This file should be named 1342.txt *****
"""
SMALL_PRINT = "Etext of X\n\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n\n"


def test_the_book_stands_without_its_header_and_footer(tmp_path):
    whole = HEADER + BOOK + FOOTER
    files = {
        "a.txt": whole.replace("\n", "\r\n"),
        "b.txt": whole.removeprefix("\ufeff").encode("cp1252"),
        "c.txt": SMALL_PRINT + BOOK + "\n\nEnd of Project Gutenberg Etext of X\n\n",
        "d.txt": "About START OF THIS PROJECT GUTENBERG EBOOK and what it means.",
    }
    found = collect(tmp_path, files)
    first, second, third, fourth = found.documents
    assert first["text"] == second["text"] == third["text"] == BOOK
    assert fourth["text"] == files["d.txt"]
    assert (first["id"], second["id"]) == ("gutenberg:1342", "gutenberg:1342#2")
    assert (first["url"], first["date"]) == ("https://www.gutenberg.org/ebooks/1342", "2008-06-27")
    assert (first["licence"], fourth["licence"]) == ("Public domain in the USA", None)
    assert json.loads(first["metadata"]) == {
        "title": "A Mill, and Its River",
        "author": "Émile Müller",
        "stated_language": "French",
    }


def test_a_text_that_should_be_of_gutenberg_and_is_not_is_put_aside(tmp_path):
    found = collect(tmp_path, {"a.txt": HEADER + BOOK, "b.txt": "x"}, format="gutenberg")
    assert [row["text"] for row in found.documents] == [BOOK]
    assert found.problems == [("b.txt", "no header of Project Gutenberg")]


CONTAINER = """<?xml version="1.0"?>
<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>
<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/>
</rootfiles></container>"""
PACKAGE = """<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="i">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:title>Mills &amp; Wheels</dc:title><dc:creator>A. Müller</dc:creator>
<dc:language>de</dc:language><dc:identifier id="i">urn:isbn:1</dc:identifier>
<dc:date>2001-02-03</dc:date><dc:rights>CC0</dc:rights></metadata>
<manifest>
<item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="b" href="text/two.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="text/o%20ne.xhtml" media-type="application/xhtml+xml"/>
<item id="c" href="style.css" media-type="text/css"/>
</manifest>
<spine><itemref idref="n"/><itemref idref="a"/><itemref idref="b"/></spine></package>"""
PAGE = """<?xml version="1.0" encoding="utf-8"?>
<html xmlns="http://www.w3.org/1999/xhtml"><head><title/><script src="a.js"/></head><body>
<h1><a id="x"/>{}</h1><p>It <i>stood</i> there.<img src="../a.png" alt=""/></p><p>Long.</p></body>
</html>"""
PARTS = {
    "mimetype": "application/epub+zip",
    "META-INF/container.xml": CONTAINER,
    "OEBPS/book.opf": PACKAGE,
    "OEBPS/nav.xhtml": PAGE.format("Contents"),
    "OEBPS/text/two.xhtml": PAGE.format("Two").encode("utf-16"),
    "OEBPS/text/o ne.xhtml": PAGE.format("One"),
}


def epub(**changed: str | bytes | None) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as book:
        for name, content in (PARTS | changed).items():
            if content is not None:
                book.writestr(name, content)
    return stream.getvalue()


def test_the_pages_of_a_book_stand_in_the_order_of_reading(tmp_path):
    (row,) = collect(tmp_path, {"a.epub": epub()}).documents
    assert row["text"] == "One\nIt stood there.\nLong.\n\nTwo\nIt stood there.\nLong."
    assert (row["id"], row["licence"], row["date"]) == ("a.epub", "CC0", "2001-02-03")
    assert json.loads(row["metadata"]) == {
        "title": "Mills & Wheels",
        "author": "A. Müller",
        "stated_language": "de",
        "identifier": "urn:isbn:1",
        "rights": "CC0",
        "media": ["../a.png", "../a.png"],
    }


LOL = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><package>&b;</package>'
LOCKED = '<encryption><CipherReference URI="OEBPS/text/two.xhtml"/></encryption>'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK no zip", "not EPUB, or damaged (File is not a zip file)"),
        (epub()[:-30], "not EPUB, or damaged (File is not a zip file)"),
        (epub(**{"META-INF/container.xml": None}), "no part 'META-INF/container.xml'"),
        (epub(**{"OEBPS/book.opf": LOL}), "declares an entity"),
        (epub(**{"OEBPS/book.opf": "<package>"}), "not EPUB, or damaged (no element found: line 1"),
        (epub(**{"OEBPS/text/two.xhtml": None}), "no part 'OEBPS/text/two.xhtml'"),
        (epub(**{"META-INF/encryption.xml": LOCKED}), "encrypted"),
        (
            epub(**{"OEBPS/text/two.xhtml": b"<p>" + b" " * 40_000_000}),
            "'OEBPS/text/two.xhtml' unpacks to more than 33,554,432 bytes",
        ),
    ],
    ids=range(8),  # the bytes of a zip hold the time of day
)
def test_a_damaged_book_is_put_aside_with_its_reason(tmp_path, content, reason):
    found = collect(tmp_path, {"a.epub": content, "b.md": "Sound."})
    assert len(found.documents) == 1
    assert found.problems[0][1].startswith(reason)


def pdf(pages: list[list[str]]) -> bytes:
    """Lines of Helvetica from the top of each page down, as PDFium sets them."""
    pypdfium2 = pytest.importorskip("pypdfium2")
    raw = pypdfium2.raw
    document = pypdfium2.PdfDocument.new()
    for lines in pages:
        page = document.new_page(595, 842)
        for place, line in enumerate(lines):
            shape = raw.FPDFPageObj_NewTextObj(document, b"Helvetica", ctypes.c_float(11))
            written = (line + "\0").encode("utf-16-le")
            raw.FPDFText_SetText(shape, ctypes.cast(written, ctypes.POINTER(ctypes.c_ushort)))
            raw.FPDFPageObj_Transform(shape, 1, 0, 0, 1, 50, 780 - 14 * place)
            raw.FPDFPage_InsertObject(page, shape)
        page.gen_content()
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


NAMES = ["north", "south", "east", "west"]
PRINTED = [
    [
        f"Annual Report of Mills {number}",
        f"The {name} wheel was turned by the water of the river, as ever, and thereby gro-",
        "und the grain of a whole well-known valley, which took the most",
        "of a day.",
        f"No {name} end.",
        f"A second {name} paragraph.",
        f"Page {number} of 4",
    ]
    for number, name in enumerate(NAMES, 1)
]


def test_lines_of_a_pdf_become_paragraphs_without_running_titles(tmp_path):
    found = collect(tmp_path, {"a.pdf": pdf(PRINTED), "b.pdf": pdf([[], []])})
    (row,) = found.documents
    pages = [
        f"The {name} wheel was turned by the water of the river, as ever, and thereby ground the "
        f"grain of a whole well-known valley, which took the most of a day.\nNo {name} end.\n"
        f"A second {name} paragraph."
        for name in NAMES
    ]
    assert row["text"] == "\n".join(pages)
    assert found.passed_over == {"PDFs without a text layer": 1}


def test_a_damaged_pdf_is_put_aside(tmp_path):
    whole = pdf(PRINTED)
    files = {"a.pdf": b"%PDF-1.7\nno more", "b.pdf": whole[: len(whole) // 4], "c.pdf": whole}
    found = collect(tmp_path, files)
    assert [row["id"] for row in found.documents] == ["c.pdf"]
    assert [where for where, _ in found.problems] == ["a.pdf", "b.pdf"]
    assert all(reason.startswith("cannot be read as PDF (") for _, reason in found.problems)


def test_a_pdf_that_kills_its_reader_costs_itself_alone(tmp_path, monkeypatch):
    from volano.collect.readers import pdf as reader

    (tmp_path / "a.pdf").write_bytes(b"kill")
    (tmp_path / "b.pdf").write_bytes(pdf(PRINTED))
    monkeypatch.setattr(reader, "pdf_text", deadly)
    (problem,) = reader.read_pdf(tmp_path / "a.pdf", "a.pdf", "text")
    assert problem.reason == "cannot be read as PDF (the process that read it died (SIGSEGV))"
    (sound,) = reader.read_pdf(tmp_path / "b.pdf", "b.pdf", "text")
    assert sound.values["text"].startswith("The north wheel")


def deadly(content):
    import os
    import signal

    from volano.collect.readers.pdf import pdf_text

    if content == b"kill":
        os.kill(os.getpid(), signal.SIGSEGV)
    return pdf_text(content)


def test_a_hyphen_that_the_text_writes_elsewhere_stays():
    page = "It is a well-known and well-\nknown and seldom under-\nstood thing of long long lines"
    assert text_of_pages([page]) == (
        "It is a well-known and well-known and seldom understood thing of long long lines"
    )
