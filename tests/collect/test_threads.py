"""Dumps of StackExchange and of Reddit, line by line as these write them, and then damaged."""

import gzip
import json
from xml.sax.saxutils import quoteattr

import pytest
import zstandard
from reading import collect

from volano.collect.readers.markup import html_text


def post(number: int, kind: int, body: str, **other: object) -> str:
    stated = {
        "Id": number,
        "PostTypeId": kind,
        "CreationDate": "2012-01-02T03:04:05.678",
        "Score": 1,
        "Body": body,
        **other,
    }
    attributes = " ".join(f"{name}={quoteattr(str(value))}" for name, value in stated.items())
    return f"  <row {attributes} />\n".replace("\n</", "&#xA;</")


CODE = (
    "<p>Use <code>sorted</code>:</p>\n"
    '<pre class="lang-py"><code>sorted(x)\n\n# &lt;done&gt;\n</code></pre>'
)
POSTS = [
    '\ufeff<?xml version="1.0" encoding="utf-8"?>\n<posts>\n',
    post(
        2,
        1,
        "<p>I have a list.</p><img src='https://i.test/a.png'><ul><li>one</li><li>two</li></ul>",
        Title="How to sort & keep?",
        Tags="<python><list>",
        AcceptedAnswerId=5,
        Score=7,
        ContentLicense="CC BY-SA 3.0",
    ),
    post(3, 2, "<p>Best.</p>", ParentId=2, Score=30, CreationDate="2020-01-01"),
    post(4, 2, "<p>Bad.</p>", ParentId=2, Score=-3),
    post(5, 2, CODE.replace("\n", "&#10;"), ParentId=2, Score=2).replace("&amp;#10;", "&#xA;"),
    post(6, 2, "<p>To whom?</p>", ParentId=99),
    post(7, 4, "A wiki of a tag."),
    post(8, 1, "<p>Hated.</p>", Title="Why?", Score=-1),
    "</posts>",
]
THREAD = """How to sort & keep?

I have a list.
- one
- two

Answer:
Use `sorted`:
```py
sorted(x)

# <done>
```

Answer:
Best."""


def test_a_question_stands_with_its_answers_the_accepted_one_first(tmp_path):
    files = {
        "askubuntu.com/Posts.xml": "".join(POSTS),
        "math.stackexchange.com/Posts.xml.gz": gzip.compress("".join(POSTS[:3]).encode()),
    }
    found = collect(tmp_path, files)
    first, second = found.documents
    assert first["text"] == THREAD
    assert (first["id"], first["kind"]) == ("askubuntu.com/Posts.xml#2", "thread")
    assert (first["url"], second["url"]) == (
        "https://askubuntu.com/questions/2",
        "https://math.stackexchange.com/questions/2",
    )
    assert first["licence"] == "CC-BY-SA-3.0 AND CC-BY-SA-4.0"
    metadata = json.loads(first["metadata"])
    assert metadata["tags"] == ["python", "list"]
    assert metadata["media"] == ["https://i.test/a.png"]
    assert metadata["answers"] == [
        {"id": 5, "score": 2, "accepted": True},
        {"id": 3, "score": 30, "accepted": False},
    ]
    assert found.passed_over == {
        "answers below the score": 1,
        "answers without their question": 1,
        "posts that are neither question nor answer": 1,
        "questions below the score": 1,
    }


def test_a_damaged_post_costs_itself_alone(tmp_path):
    bad = [
        b'<row Id="10" PostTypeId="1" Body="&lol;" />\n',
        b'<row Id="11" PostTypeId="1" Body="cut\n',
        b'<row Id="12" PostTypeId="1" Score="many" />\n',
        b'<row Id="13" PostTypeId="2" />\n',
        b"<row>" * 50_000 + b"\n",
        b'<row Id="9999999999999999999999" PostTypeId="1" />\n',
        b'<row Id="14" PostTypeId="1" Body="\xff" />\n',
    ]
    content = "".join(POSTS[:3]).encode() + b"".join(bad)
    found = collect(tmp_path, {"Posts.xml": content}, min_score=5, site="a.test")
    assert [row["url"] for row in found.documents] == ["https://a.test/questions/2"]
    assert [where for where, _ in found.problems] == [f"Posts.xml:{n}" for n in range(5, 12)]
    assert all(reason.startswith("not a post (") for _, reason in found.problems)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a<br>b<p>c  d", "a\nb\nc d"),
        ("<table><tr><td>a<td>b<tr><td>c</table>", "a | b\nc"),
        ("<li><p>a</p><p>b</p></li>", "- a\nb"),
        ("<script>x</script>y<style>z</style>", "y"),
        ("<pre>```\n</pre>", "````\n```\n````"),
        ("<div>" * 20_000 + "deep", "deep"),
        ("\0", ""),
    ],
)
def test_html_becomes_text(html, text):
    assert html_text(html).text == text


def line(**values: object) -> str:
    return json.dumps({"score": 1, "created_utc": 1546300800, **values}) + "\n"


def comment(number: str, parent: str, body: str, **other: object) -> str:
    return line(id=number, link_id="t3_a1", parent_id=parent, body=body, **other)


SUBMISSIONS = (
    line(id="a1", title="Mills &amp; wheels", selftext="Which?", subreddit="mills", is_self=True)
    + line(id="b2", title="Gone", selftext="[removed]")
    + line(id="c3", title="Only a link", selftext="", url="https://x.test/p.png")
    + "[]\n"
)
COMMENTS = (
    comment("k2", "t1_k1", "A reply\nin two lines", created_utc="1546300900")
    + comment("k1", "t3_a1", "Low", score=2)
    + comment("k3", "t3_a1", "High", score=9)
    + comment("k4", "t3_a1", "[deleted]", score=50)
    + comment("k5", "t1_k4", "To nobody")
    + comment("k3", "t3_a1", "High", score=9)
    + comment("k6", "t3_a1", "Rude", score=-9)
    + line(id="k7", link_id="t3_zz", parent_id="t3_zz", body="Elsewhere")
)


def test_comments_are_a_tree_below_their_submission(tmp_path):
    packer = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters.from_level(3, window_log=31)
    )
    files = {"RC_2019-02.zst": packer.compress(COMMENTS.encode()), "RS_2019-01.ndjson": SUBMISSIONS}
    found = collect(tmp_path, files, format="reddit")
    (thread,) = found.documents
    assert thread["text"] == (
        "Mills & wheels\n\nWhich?\n\n- High\n- Low\n  - A reply\n    in two lines"
    )
    assert (thread["id"], thread["date"]) == ("reddit:a1", "2019-01-01T00:00:00+00:00")
    assert thread["url"] == "https://www.reddit.com/comments/a1/"
    assert found.passed_over == {
        "posts given twice": 1,
        "deleted comments": 1,
        "comments below the score": 1,
        "replies to what is gone": 1,
        "deleted submissions": 1,
        "submissions without text or comments": 1,
        "comments without their submission": 1,
    }
    assert found.problems == [("RS_2019-01.ndjson:4", "a JSON list instead of an object")]


def test_replies_nest_without_bound(tmp_path):
    chain = "".join(comment(f"k{n}", f"t1_k{n - 1}" if n else "t3_a1", str(n)) for n in range(3000))
    found = collect(
        tmp_path, {"a.jsonl": SUBMISSIONS.partition("\n")[0] + "\n" + chain}, format="reddit"
    )
    assert len(found.documents[0]["text"].splitlines()) == 3004
