"""Dumps of StackExchange: one document a question, with its answers.

Posts.xml holds one post a line, questions and answers mixed by date. Each line is parsed by itself,
so damage costs one post, and no entity can be declared.
"""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.parsers import expat

import pyarrow as pa

from volano.collect.readers.fields import Fields, PassedOver, Read
from volano.collect.readers.markup import html_text
from volano.collect.readers.sorting import SortedRows
from volano.core.jsonlines import EXCERPT_CHARACTERS, BadLine, Problem, read_lines

QUESTION, ANSWER = "1", "2"
MAX_THREAD_CHARACTERS = 1 << 25
# What a post is under that says nothing itself, by the date of its first version.
# Source: https://stackoverflow.com/help/licensing
LICENCES = (("2018-05-02", "CC-BY-SA-4.0"), ("2011-04-08", "CC-BY-SA-3.0"), ("", "CC-BY-SA-2.5"))
_SITE = re.compile(r"((?:[a-z0-9-]+\.)+(?:com|net|org))(?:-Posts)?", re.IGNORECASE)
_SCHEMA = pa.schema(
    [
        ("thread", pa.int64()),
        ("is_answer", pa.int8()),
        ("id", pa.int64()),
        ("score", pa.int64()),
        ("accepted", pa.int64()),
        ("date", pa.string()),
        ("licence", pa.string()),
        ("title", pa.string()),
        ("tags", pa.string()),
        ("body", pa.large_string()),
        ("where", pa.string()),
    ]
)


def is_stackexchange(head: bytes) -> bool:
    """A file that begins so holds the posts of a dump."""
    return re.search(rb"<posts[\s>]", head[:1000]) is not None


def read_stackexchange(
    path: Path, name: str, text_field: str, min_score: int, site: str | None, scratch: Path
) -> Read:
    """The questions of a dump by number, each with its answers: the accepted one first, then by
    score. A question is called by the file and its number."""
    posts = SortedRows(scratch, _SCHEMA)
    for where, line in read_lines(path, name):
        if isinstance(line, BadLine):
            yield Problem(where, str(line), "")
            continue
        if not line.lstrip().startswith(b"<row"):
            continue
        try:
            row = _row(line, where)
        except (ValueError, expat.ExpatError) as failure:
            excerpt = line[:EXCERPT_CHARACTERS].decode("utf-8", "replace")
            yield Problem(where, f"not a post ({failure})", excerpt)
            continue
        if isinstance(row, PassedOver):
            yield row
        else:
            posts.add(row)
    found = site or _site_of(name)
    rows = posts.read("thread, is_answer, score desc, id")
    for number, thread in groupby(rows, key=lambda row: row["thread"]):
        yield from _thread(number, thread, name, text_field, min_score, found)


def _row(line: bytes, where: str) -> dict[str, Any] | PassedOver:
    post = _attributes(line)
    kind = post.get("PostTypeId")
    if kind not in {QUESTION, ANSWER}:
        return PassedOver("posts that are neither question nor answer")
    date = post.get("CreationDate", "")
    stated = post.get("ContentLicense", "").replace(" ", "-")
    return {
        "thread": _number(post["Id"] if kind == QUESTION else post.get("ParentId", "")),
        "is_answer": int(kind == ANSWER),
        "id": _number(post["Id"]),
        "score": _number(post.get("Score", "0")),
        "accepted": _number(post.get("AcceptedAnswerId", "0")),
        "date": date,
        "licence": stated or next(licence for since, licence in LICENCES if date >= since),
        "title": post.get("Title", ""),
        "tags": post.get("Tags", ""),
        "body": post.get("Body", ""),
        "where": where,
    }


def _number(written: str) -> int:
    number = int(written)
    if abs(number) >= 1 << 62:
        raise ValueError(f"a number out of range: {written[:30]}")
    return number


def _attributes(line: bytes) -> dict[str, str]:
    found: list[dict[str, str]] = []

    def begin(tag: str, attributes: dict[str, str]) -> None:
        if found:
            raise ValueError("elements inside a row")
        found.append(attributes)

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = begin
    parser.Parse(line, True)
    if "Id" not in found[0]:
        raise ValueError("no Id")
    return found[0]


def _thread(
    number: int,
    thread: Iterator[dict[str, Any]],
    name: str,
    text_field: str,
    min_score: int,
    site: str,
) -> Read:
    question = next(thread)
    if question["is_answer"]:
        yield from (PassedOver("answers without their question") for _ in (question, *thread))
        return
    if question["score"] < min_score:
        yield PassedOver("questions below the score")
        yield from (PassedOver("answers without their question") for _ in thread)
        return
    answers: list[dict[str, Any]] = []
    known: set[int] = set()
    size = 0
    for post in thread:
        accepted = post["id"] == question["accepted"]
        if not post["is_answer"] or post["id"] in known:
            yield PassedOver("posts given twice")
        elif post["score"] < min_score and not accepted:
            yield PassedOver("answers below the score")
        elif size + len(post["body"]) > MAX_THREAD_CHARACTERS and not accepted:
            yield PassedOver("answers beyond the longest thread")
        else:
            known.add(post["id"])
            size += len(post["body"])
            answers.insert(0 if accepted else len(answers), post)
    yield _document(number, question, answers, name, text_field, site)


def _document(
    number: int,
    question: dict[str, Any],
    answers: list[dict[str, Any]],
    name: str,
    text_field: str,
    site: str,
) -> Fields | PassedOver:
    said = html_text(question["body"])
    media = said.media
    parts = [part for part in (question["title"].strip(), said.text) if part]
    kept = []
    for post in answers:
        answer = html_text(post["body"])
        if answer.text:
            parts.append(f"Answer:\n{answer.text}")
            media += answer.media
            kept.append(post)
    if not parts:
        return PassedOver("questions without text")
    values = {
        "kind": "thread",
        "title": question["title"],
        "url": f"https://{site}/questions/{number}" if site else "",
        "date": question["date"],
        "licence": " AND ".join(sorted({each["licence"] for each in (question, *kept)})),
        "score": question["score"],
        "tags": re.findall(r"[^<>|]+", question["tags"]),
        "answers": [
            {
                "id": each["id"],
                "score": each["score"],
                "accepted": each["id"] == question["accepted"],
            }
            for each in kept
        ],
        "media": media,
        "line": int(question["where"].rpartition(":")[2]),
    }
    stated = {key: value for key, value in values.items() if value not in ("", [])}
    return Fields(f"{name}:{number}", name, {text_field: "\n\n".join(parts), **stated})


def _site_of(name: str) -> str:
    folders = name.split("/")[:-1]
    found = next((match for each in reversed(folders) if (match := _SITE.fullmatch(each))), None)
    return found[1].lower() if found else ""
