"""Dumps of Reddit as Pushshift made them: one document a thread, its comments as a tree.

Submissions and comments lie in files of their own, by month or by subreddit, as JSON Lines packed
by zstd with a long window. All files named are read together, since a comment may stand in another
month than what it answers. Names of users are left out.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import unescape
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from volano.collect.readers.fields import Fields, PassedOver, Read
from volano.collect.readers.sorting import SortedRows
from volano.collect.remote import local_file
from volano.core.jsonlines import EXCERPT_CHARACTERS, BadLine, Problem, json_object, read_lines
from volano.core.step import Entry

GONE = frozenset({"[deleted]", "[removed]", "[ Removed by Reddit ]"})
MAX_THREAD_CHARACTERS = 1 << 25
MAX_INDENTS = 20  # spaces deeper in say nothing more; replies themselves nest without bound
SITE = "https://www.reddit.com"
_SCHEMA = pa.schema(
    [
        ("thread", pa.string()),
        ("is_comment", pa.int8()),
        ("id", pa.string()),
        ("parent", pa.string()),
        ("score", pa.int64()),
        ("created", pa.int64()),
        ("title", pa.string()),
        ("body", pa.large_string()),
        ("url", pa.string()),
        ("link", pa.string()),
        ("subreddit", pa.string()),
        ("over_18", pa.bool_()),
        ("source", pa.string()),
        ("where", pa.string()),
    ]
)


def read_reddit(entries: Sequence[Entry], text_field: str, min_score: int, scratch: Path) -> Read:
    """The threads of all files by date, each called by the file and line of its submission."""
    posts = SortedRows(scratch, _SCHEMA)
    for entry in entries:
        with local_file(entry, scratch / "fetched") as path:
            yield from _put_down(path, entry.key, posts)
    # Numbers in base 36 grow with time; a shorter one is older.
    rows = posts.read("length(thread), thread, is_comment, score desc, created, id")
    for _, thread in groupby(rows, key=lambda row: row["thread"]):
        yield from _thread(thread, text_field, min_score)


def _put_down(path: Path, source: str, posts: SortedRows) -> Iterator[Problem]:
    for where, line in read_lines(path, source):
        try:
            if isinstance(line, BadLine):
                raise line
            posts.add(_row(json_object(line), source, where))
        except BadLine as problem:
            excerpt = line[:EXCERPT_CHARACTERS] if isinstance(line, bytes) else b""
            yield Problem(where, str(problem), excerpt.decode("utf-8", "replace"))


def _row(post: dict[str, Any], source: str, where: str) -> dict[str, Any]:
    is_comment = "body" in post
    if not is_comment and "title" not in post:
        raise BadLine("neither a submission (title) nor a comment (body)")
    link = "" if post.get("is_self") else _text(post, "url")
    thread = _text(post, "link_id" if is_comment else "id").removeprefix("t3_")
    if not thread or not _text(post, "id"):
        raise BadLine("no id, or no link_id")
    return {
        "thread": thread,
        "is_comment": int(is_comment),
        "id": _text(post, "id"),
        "parent": _text(post, "parent_id"),
        "score": _whole(post, "score"),
        "created": _whole(post, "created_utc"),
        "title": unescape(_text(post, "title")),
        "body": unescape(_text(post, "body" if is_comment else "selftext")),
        "url": _text(post, "permalink"),
        "link": "" if is_comment or _text(post, "permalink") in link else link,
        "subreddit": _text(post, "subreddit"),
        "over_18": post.get("over_18") is True,
        "source": source,
        "where": where,
    }


def _thread(thread: Iterator[dict[str, Any]], text_field: str, min_score: int) -> Read:
    submission = next(thread)
    refused = None
    if submission["is_comment"]:
        yield PassedOver("comments without their submission")
        refused = ""
    elif submission["body"].strip() in GONE or submission["title"].strip() in GONE:
        refused = "deleted submissions"
    elif submission["score"] < min_score:
        refused = "submissions below the score"
    if refused is not None:
        if refused:
            yield PassedOver(refused)
        yield from (PassedOver("comments without their submission") for _ in thread)
        return
    replies: dict[str, list[dict[str, Any]]] = defaultdict(list)
    known: set[str] = set()
    waiting = size = 0
    for post in thread:
        reason = None
        if not post["is_comment"] or post["id"] in known:
            reason = "posts given twice"
        elif post["body"].strip() in GONE or not post["body"].strip():
            reason = "deleted comments"
        elif post["score"] < min_score:
            reason = "comments below the score"
        elif size + len(post["body"]) > MAX_THREAD_CHARACTERS:
            reason = "comments beyond the longest thread"
        if reason:
            yield PassedOver(reason)
            continue
        known.add(post["id"])
        size += len(post["body"])
        replies[post["parent"]].append(post)
        waiting += 1
    lines = list(_tree(replies, f"t3_{submission['id']}"))
    yield from (PassedOver("replies to what is gone") for _ in range(waiting - len(lines)))
    yield _document(submission, lines, text_field)


def _tree(replies: dict[str, list[dict[str, Any]]], root: str) -> Iterator[str]:
    # Depth first, the best reply first, as items of a list; rows come sorted by score.
    pending = [(post, 0) for post in reversed(replies.pop(root, []))]
    while pending:
        post, depth = pending.pop()
        indent = "  " * min(depth, MAX_INDENTS)
        first, *others = [line.rstrip() for line in post["body"].strip().splitlines()]
        yield "\n".join(
            [f"{indent}- {first}", *(f"{indent}  {line}" if line else "" for line in others)]
        )
        below = replies.pop(f"t1_{post['id']}", [])
        pending += [(reply, depth + 1) for reply in reversed(below)]


def _document(
    submission: dict[str, Any], comments: list[str], text_field: str
) -> Fields | PassedOver:
    body = submission["body"].strip()
    if not body and not comments:
        return PassedOver("submissions without text or comments")
    parts = [submission["title"].strip(), body, "\n".join(comments)]
    created = datetime.fromtimestamp(submission["created"], UTC) if submission["created"] else None
    permalink = submission["url"] or f"/comments/{submission['id']}/"
    values = {
        "id": f"reddit:{submission['id']}",
        "kind": "thread",
        "title": submission["title"],
        "url": SITE + permalink if permalink.startswith("/") else "",
        "date": created.isoformat() if created else "",
        "score": submission["score"],
        "comments": len(comments),
        "subreddit": submission["subreddit"],
        "over_18": submission["over_18"],
        "media": [submission["link"]] if submission["link"] else [],
    }
    stated = {key: value for key, value in values.items() if value not in ("", [])}
    text = "\n\n".join(part for part in parts if part)
    return Fields(submission["where"], submission["source"], {text_field: text, **stated})


def _text(post: dict[str, Any], name: str) -> str:
    value = post.get(name)
    return value.replace("\0", "") if isinstance(value, str) else ""


def _whole(post: dict[str, Any], name: str) -> int:
    value = post.get(name) or 0
    try:  # older dumps write times as text
        number = int(float(value))
    except (TypeError, ValueError, OverflowError):
        raise BadLine(f"field '{name}' is no number") from None
    if not -(1 << 37) < number < 1 << 37:
        raise BadLine(f"field '{name}' is out of range")
    return number
