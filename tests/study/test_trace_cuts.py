"""A trace says what was cut out of a document that stays."""

import json

from volano.core.lineage import trace_document
from volano.core.store import Store
from volano.study.single import run_phase

ENGLISH = (
    "The wheel stores work in a turning mass of iron, and gives it back when it is needed most."
)
GERMAN = "Das Schwungrad speichert Arbeit in einer Masse aus Eisen und gibt sie wieder zurück."
MENU = "Subscribe to our newsletter about wheels and get all of the news"
RULES = [
    "quality=off",
    "boilerplate.min_documents=3",
    "boilerplate.max_document_fraction=0.2",
    "boilerplate.min_words_left=0",
    "language.paragraphs.min_words_left=0",
    "dedup.minhash=off",
    "dedup.lines=on",
    "dedup.min_words_left=0",
]


def test_a_trace_says_which_rule_cut_how_much_out_of_a_document(tmp_path):
    rows = [
        {
            "id": f"d{number}",
            "url": f"http://a.org/{number}",
            "text": f"{MENU}\n\nThis is page number {number} of the history of {number} wheels, "
            f"which were made in {1900 + number}.\n\n{ENGLISH}" + f"\n\n{GERMAN}" * (number == 3),
        }
        for number in range(6)
    ]
    # What stands on many pages of a site is boilerplate; a line copied by another site is none.
    rows.append({"id": "copy", "url": "http://b.org/", "text": f"{ENGLISH}\nA line of its own."})
    rows[0]["text"] = rows[0]["text"].replace(ENGLISH, f"{ENGLISH} And more of it.")
    rows.append({"id": "whole", "text": "A line of its own, and longer at that."})
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    store = Store(tmp_path / "store")
    run_phase("curate", store, data=[str(tmp_path / "in.jsonl")], settings=RULES, silent=True)

    def told(document):
        found = {each.name: each.detail for each in trace_document(store, document)}
        assert found["mine/collected"] == "1 record"
        return found["mine/curated"]

    cut = "1 record, without what was cut out: "
    menu, english, german = (len(each.encode()) for each in (MENU, ENGLISH, GERMAN))
    assert told("whole") == "1 record"
    assert told("copy") == f"{cut}{english + 1} bytes by dedup (1 line)"
    foreign = told("d3").removeprefix(cut).split(", ")[1]
    assert foreign == f"{german + 2} bytes by language (1 paragraph)"
    assert told("d0") == f"{cut}{menu + 2} bytes by boilerplate (1 line)"
