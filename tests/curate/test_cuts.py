import random

import pytest

from volano.core.records import Document
from volano.curate import cuts
from volano.curate.decision import CUT
from volano.curate.funnel import funnel

MENU = "Home and all about us and our harbour and its old ships"  # 12 words
NOTICE = "We use cookies to count who reads this page and when it is read"
SHORT = "Read more here"


def page(n):
    return (
        f"The ship number {n} left the harbour on day {n} and came back with {n} barrels of fish.\n"
        f"Nobody who had been on board of number {n} wanted to say where the {n} had come from."
    )


PAGES = [f"{MENU}\n{page(n)}\n{SHORT}\n\n{NOTICE}\n\n{page(n)} Again." for n in range(5)]
ALONE = {"exact": "off", "minhash": "off", "min_words_left": 0}


def texts(corpus):
    return corpus.to_arrow()["text"].to_pylist()


def plain_lines(pages, fewest_words=8, fewest_copies=2):
    """The definition: of lines with enough words, all but the first go where enough are alike."""
    every = [" ".join(line.split()) for text in pages for line in text.split("\n")]
    seen, left = set(), []
    for text in pages:
        kept = []
        for line in text.split("\n"):
            bare = " ".join(line.split())
            counts = len(bare.split()) >= fewest_words and every.count(bare) >= fewest_copies
            if not (counts and bare in seen):
                kept.append(line)
            seen.add(bare)
        left.append("\n".join(kept))
    return left


@pytest.mark.parametrize(("words", "copies"), [(8, 2), (3, 2), (8, 6), (12, 3)])
def test_lines_that_stand_before_are_cut_out(dedup, words, copies):
    corpus = dedup(PAGES, lines={"min_words": words, "min_copies": copies}, **ALONE)
    assert texts(corpus) == plain_lines(PAGES, words, copies)


def test_paragraphs_are_cut_whole_and_lines_from_what_they_leave(dedup):
    corpus = dedup(PAGES, paragraphs="on", lines="on", **ALONE)
    first, second = page(3).split("\n")
    assert texts(corpus)[3] == f"{first}\n{second}\n{SHORT}\n\n{second} Again."
    assert texts(corpus)[0] == f"{MENU}\n{page(0)}\n{SHORT}\n\n{NOTICE}\n\n" + (
        page(0).partition("\n")[2] + " Again."
    )
    rows = corpus.attributes("dedup").to_pylist()
    assert [row["cut_paragraphs"] for row in rows] == [0, 1, 1, 1, 1]
    assert [row["cut_lines"] for row in rows] == [1, 2, 2, 2, 2]  # the menu, and a line of its own
    for before, after, row in zip(PAGES, texts(corpus), rows, strict=True):
        assert row["cut_bytes"] == len(before.encode()) - len(after.encode()) > 0


def test_training_documents_keep_their_copy_and_code_all_its_lines(dedup):
    documents = [
        Document(id="pool", text=f"{MENU}\n{page(1)}", source="test", split="pool"),
        Document(id="code", text=f"{MENU}\n{page(2)}", source="test", kind="code"),
        Document(id="train", text=f"{MENU}\n{page(3)}", source="test"),
    ]
    assert texts(dedup(documents, lines="on", **ALONE)) == [
        page(1),
        f"{MENU}\n{page(2)}",
        f"{MENU}\n{page(3)}",
    ]


def test_what_is_too_short_afterwards_falls_and_the_funnel_adds_up(dedup):
    corpus = dedup([*PAGES, f"{MENU}\n{NOTICE}\nGood morning to all"], lines="on")
    (row,) = [each for each in corpus.attributes("decision").to_pylist() if each["dropped_by"]]
    assert (row["id"], row["dropped_by"], row["value"], row["threshold"]) == ("d5", CUT, 4, 20)
    size = len(MENU) + len(NOTICE) + 2
    assert row["evidence"] == f"words left; {size} bytes stand elsewhere"
    last = funnel(corpus)[-1]
    assert (last.filter, last.documents, last.documents_dropped) == (CUT, 5, 1)
    assert last.bytes == sum(len(text.encode()) for text in texts(corpus))
    assert last.bytes_cut == sum(map(len, PAGES)) - last.bytes > 0
    (gone,) = corpus.dropped().to_pylist()
    assert gone["text"].startswith(MENU)  # as it was collected


def test_documents_that_fell_before_take_nothing_along(dedup):
    copy = PAGES[0].replace("\n", " \n")
    corpus = dedup([copy, PAGES[0], f"{MENU}\n{page(9)}"], lines="on", min_words_left=0)
    assert texts(corpus)[1] == page(9)
    fallen = dedup([PAGES[0], copy], run="two", lines={"min_copies": 3})
    assert texts(fallen) == [PAGES[0]]


def test_result_depends_neither_on_ranges_nor_workers_nor_a_kill(dedup, tmp_path, monkeypatch):
    asked = {"paragraphs": "on", "lines": {"min_words": 3}, **ALONE}
    whole = texts(dedup(PAGES, run="whole", workers=1, **asked))
    monkeypatch.setattr(cuts, "SPANS_AT_ONCE", 4)
    dedup(PAGES, run="cut", per_shard=1, **asked)
    scratch = tmp_path / "cut-scratch/cuts/line"
    assert len(list((scratch / "copies").iterdir())) > 3
    for lost in (scratch / "spans/00001.npy", scratch / "copies/00002.npy"):
        lost.unlink()
    for lost in ("data/00003.parquet", "manifest.json"):
        (tmp_path / "cut" / lost).unlink()
    assert texts(dedup(PAGES, run="cut", per_shard=1, **asked)) == whole


def test_behind_c4_the_lines_that_it_has_left_are_compared(dedup):
    rules = {"rules": ["c4"], "c4": {"min_sentences": 1}}
    others = dict.fromkeys(("language", "toxicity", "decontaminate", "pii"), "off")
    others["quality"] = rules
    one = f"Menu without an end\n{MENU}.\n{page(1)}"
    two = f"Another menu\n{MENU}.\n{page(2)}"
    found = texts(dedup([one, two], lines="on", others=others, **ALONE))
    assert found == [f"{MENU}.\n{page(1)}", page(2)]


def plain_passages(pages, fewest_words):
    """The definition, by comparing every run of words with every one before it."""
    split = [text.split() for text in pages]
    left = []
    for number, words in enumerate(split):
        gone = [False] * len(words)
        for start in range(len(words) - fewest_words + 1):
            run = words[start : start + fewest_words]
            first = next(
                (other, place)
                for other, before in enumerate(split)
                for place in range(len(before) - fewest_words + 1)
                if before[place : place + fewest_words] == run
            )
            itself = first == (number, start)
            overlaps = first[0] == number and start - first[1] < fewest_words
            if not itself and not overlaps:
                gone[start : start + fewest_words] = [True] * fewest_words
        left.append([word for word, is_gone in zip(words, gone, strict=True) if not is_gone])
    return left


@pytest.mark.parametrize(("seed", "per_shard"), [(1, 1), (2, 3), (3, 50)])
def test_passages_are_those_of_a_comparison_of_every_run_with_every_other(
    dedup, monkeypatch, seed, per_shard
):
    chance = random.Random(seed)
    monkeypatch.setattr(cuts, "SPANS_AT_ONCE", 100)
    pages = [" ".join(chance.choices("abc", k=chance.randint(0, 40))) for _ in range(12)]
    pages += [f"{pages[0]} {pages[1]} new", "ha " * 30, f"x {'ha ' * 30}"]
    corpus = dedup(pages, per_shard=per_shard, passages={"min_words": 6}, **ALONE)
    expected = plain_passages(pages, 6)
    assert [text.split() for text in texts(corpus)] == expected
    assert sum(map(len, expected)) < sum(len(text.split()) for text in pages) - 50
    rows = corpus.attributes("dedup").to_pylist()
    shorter = [len(left) < len(page.split()) for left, page in zip(expected, pages, strict=True)]
    assert [row["cut_passages"] > 0 for row in rows] == shorter


def test_a_passage_is_cut_wherever_it_begins_and_ends(dedup):
    story = " ".join(f"step{n}" for n in range(60))
    corpus = dedup(
        [f"One.\n{story}", f"Two, which says: {story}\n\nand more."], passages="on", **ALONE
    )
    assert texts(corpus)[1] == "Two, which says: and more."
    assert corpus.attributes("dedup")["cut_passages"].to_pylist() == [0, 1]
