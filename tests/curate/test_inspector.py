import json
import re
from pydoc_data.topics import topics

import pytest

from volano.core.errors import DataError
from volano.core.store import Store
from volano.curate.inspected import Inspected
from volano.study.single import run_phase

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

from volano.curate.inspector import inspector

SCRIPT = "<script>alert(1)</script>"
LOOSE = ["quality.gopher_quality.min_alphabetic_word_fraction=0.5"]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspected")
    rows = [{"id": name, "text": text} for name, text in topics.items()]
    rows += [
        {"id": "with-again", "text": topics["with"]},
        {"id": f"odd {SCRIPT}", "text": f"too short {SCRIPT}", "url": "https://a.test/?b=c&d"},
        {"id": "mail", "text": topics["for"] + "\nWrite to ann.lee@mail.uni.de."},
    ]
    path = folder / "in.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    store = Store(folder / "store")
    return run_phase("curate", store, data=[str(path)], settings=LOOSE, silent=True)[-1].artifact


@pytest.fixture(scope="module")
def client(artifact):
    return TestClient(inspector(Inspected(artifact)), base_url="http://127.0.0.1")


def test_search_finds_words_decisions_and_extremes(artifact):
    asked = Inspected(artifact)
    everything, count = asked.search()
    assert count == len(topics) + 3
    assert len(everything) == 20
    (odd,), count = asked.search("TOO SHORT")
    assert (count, odd.dropped_by) == (1, "gopher_quality")
    assert odd.why.startswith("words, ")
    kept, count = asked.search(dropped_by="kept", sort="gopher_quality.words", descending=False)
    assert count == len(artifact.corpus())
    numbers = [each.number for each in kept]
    assert numbers == sorted(numbers)
    assert numbers[0] >= 50
    second, _ = asked.search(
        dropped_by="kept", sort="gopher_quality.words", descending=False, page=1
    )
    assert second[0].number >= numbers[-1]
    with pytest.raises(DataError, match=r"Did you mean 'gopher_quality\.words'"):
        asked.search(sort="gopher_quality.word")


def test_a_spread_counts_every_document_once_and_knows_its_bounds(artifact):
    found = Inspected(artifact).spread("gopher_quality", "alphabetic_word_fraction")
    assert sum(found.kept) + sum(found.dropped) + found.beyond + found.missing == len(topics) + 3
    (bound,) = found.bounds
    assert (bound.key, bound.side, bound.value) == (
        "quality.gopher_quality.min_alphabetic_word_fraction",
        "min",
        0.5,
    )
    below = [count for edge, count in zip(found.edges, found.kept, strict=False) if edge < 0.45]
    assert sum(below) == 0


def test_a_document_shows_what_was_measured_and_its_copies(artifact):
    asked = Inspected(artifact)
    ids = {each.id for each in asked.search("with-again")[0]}
    found = asked.document("with-again")
    assert ids == {"with-again"}
    assert found["copies"] == ["with"]
    assert found["attributes"]["dedup"]["copy_of"] == "with"
    assert asked.document("with")["copies"] == ["with-again"]
    assert asked.document("nobody") is None


PAGES = ["/", "/documents", "/documents?words=the&by=kept&sort=language.score&order=asc&page=1",
         "/document?id=with-again"]  # fmt: skip


def test_every_page_answers_and_runs_no_script_of_a_document(client, artifact):
    groups = sorted({group for group, _ in Inspected(artifact).numbers})
    for address in [*PAGES, *(f"/numbers/{group}" for group in groups), "/documents?words=odd",
                    "/document?id=odd+%3Cscript%3Ealert(1)%3C/script%3E"]:  # fmt: skip
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert SCRIPT not in answer.text
        assert "script-src 'self'" in answer.headers["content-security-policy"]
    plots = client.get("/numbers/gopher_quality").text
    assert plots.count("<svg") == 8
    assert "quality.gopher_quality.min_words=50" in plots


def test_what_is_not_there_is_told(client):
    for address in ("/numbers/nothing", "/documents?sort=a.b", "/document?id=nobody"):
        answer = client.get(address)
        assert answer.status_code == 404
        assert "Not here" in answer.text
    assert client.get("/", headers={"host": "evil.test"}).status_code == 400


def test_the_card_says_what_the_corpus_holds(artifact):
    readme = (artifact.folder / "README.md").read_text()
    kept = len(artifact.corpus())
    assert f"Of {len(topics) + 3} documents that were collected, {kept} were kept" in readme
    assert 'language: ["en"]' in readme.split("---")[1]
    assert f"| en | {kept} |" in readme
    assert re.search(r"\| email \| \d+ \| \d+ \|", readme)
    assert "ann.lee@mail.uni.de" not in readme
    row = next(line for line in readme.splitlines() if line.startswith("| exact |"))
    assert row.split(" | ")[1] == "1"


def test_only_a_curated_corpus_is_inspected(artifact):
    store = Store(artifact.folder.parents[2])
    with pytest.raises(DataError, match="no curated corpus"):
        Inspected(store.find("mine/collected"))
