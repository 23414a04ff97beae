import json

import pyarrow.compute as pc
import pytest
from typer.testing import CliRunner

from volano.cli.main import app
from volano.core.corpus import read_shard
from volano.core.deletion import Deletion, add_deletions, digest_of, forget_document
from volano.core.errors import DataError, StoreError
from volano.core.lineage import trace_document
from volano.core.store import Store
from volano.study.recut import recut
from volano.study.single import run_phase

RULES = ["quality=off", "language=off", "dedup=off"]


def curated(store: Store, path, name: str = "mine"):
    return run_phase("curate", store, data=[str(path)], settings=RULES, name=name, silent=True)[-1]


@pytest.fixture
def store(tmp_path):
    rows = [
        {"id": "a", "text": "first"},
        {"id": "a", "text": "second"},
        {"id": "b", "text": "third"},
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "other.jsonl").write_text('{"id": "c", "text": "elsewhere"}')
    opened = Store(tmp_path / "store")
    curated(opened, tmp_path / "in.jsonl")
    curated(opened, tmp_path / "other.jsonl", "other")
    return opened


def texts_on_disk(store: Store) -> set[str]:
    found: set[str] = set()
    for path in store.folder.rglob("*.parquet"):
        table = read_shard(path)
        if "text" in table.column_names:
            found |= set(table["text"].to_pylist())
    return found


def test_what_is_made_again_is_made_without_it_and_the_rest_is_reused(store, tmp_path):
    ran = CliRunner().invoke(app, ["forget", "a#2", "--store", str(store.folder), "--json"])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert [each["role"] for each in told["artifacts"]] == ["holds", "holds"]
    assert told["forgotten"]
    # The id is not in the store: only what knows it again.
    assert "a#2" not in (store.folder / "deletions.json").read_text()
    outcome = curated(store, tmp_path / "in.jsonl")
    assert not outcome.reused
    table = outcome.artifact.corpus().to_arrow(columns=["id", "text"])
    assert table.to_pylist() == [{"id": "a", "text": "first"}, {"id": "b", "text": "third"}]
    manifest = store.find("mine/collected").corpus().manifest
    assert manifest["passed_over"] == {"forgotten documents": 1}
    assert manifest["records"] == 2
    assert curated(store, tmp_path / "other.jsonl", "other").reused
    first, *others = trace_document(store, "a#2")
    assert (first.role, first.kind) == ("erased", "document")
    assert len(others) == 2
    assert all("made again without it" in each.detail for each in others)
    assert "second" in texts_on_disk(store)
    CliRunner().invoke(app, ["clean", "--store", str(store.folder)])
    assert "second" not in texts_on_disk(store)
    assert {"first", "third", "elsewhere"} <= texts_on_disk(store)


def test_a_corpus_of_other_settings_is_not_called_made_again(store, tmp_path):
    CliRunner().invoke(app, ["forget", "a#2", "--store", str(store.folder)])
    run_phase(
        "curate",
        store,
        data=[str(tmp_path / "in.jsonl")],
        settings=["quality=off", "dedup=off", "language.characters=50"],
        silent=True,
    )
    _, *others = trace_document(store, "a#2")
    details = [each.detail for each in others if each.name.endswith("curated")]
    assert len(details) == 1
    assert "of other settings without it" in details[0]


def test_a_plan_forgets_nothing_and_an_unknown_id_is_told(store):
    where = ["--store", str(store.folder)]
    assert CliRunner().invoke(app, ["forget", "b", "--plan", *where]).exit_code == 0
    assert not (store.folder / "deletions.json").exists()
    ran = CliRunner().invoke(app, ["forget", "bb", *where])
    assert isinstance(ran.exception, DataError)
    assert "no artifact has met the document 'bb'" in str(ran.exception)


def test_forgetting_twice_is_one_line_and_forgetting_all_is_told(store, tmp_path):
    first = forget_document(store.folder, "c", "elsewhere")
    assert first == forget_document(store.folder, "c", "elsewhere")
    with pytest.raises(DataError, match="every document was forgotten"):
        curated(store, tmp_path / "other.jsonl", "other")


def test_a_document_of_the_installation_is_left_out_too(tmp_path):
    opened = Store(tmp_path / "store")
    settings = ["packages=standard_library", "kinds=[topic]", "held_out_functions=0"]

    def collected():
        made = run_phase("collect", opened, data=[], settings=settings, silent=True)
        return made[-1].artifact.corpus().to_arrow(columns=["id"])

    before = collected()
    gone = before["id"][3].as_py()
    forget_document(opened.folder, gone, "another text")
    after = collected()
    assert after.num_rows == before.num_rows - 1
    assert not pc.any(pc.equal(after["id"], gone)).as_py()


def test_a_document_is_known_again_where_its_file_has_changed(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "one"}\n{"text": "secret"}\n{"text": "two"}\n')
    opened = Store(tmp_path / "store")
    curated(opened, path)
    where = ["--store", str(opened.folder)]
    assert CliRunner().invoke(app, ["forget", "in.jsonl#2", *where]).exit_code == 0
    path.write_text('{"text": "new"}\n{"text": "one"}\n{"text": "secret"}\n{"text": "two"}\n')
    texts = curated(opened, path).artifact.corpus().to_arrow(columns=["text"])["text"].to_pylist()
    assert texts == ["new", "one", "two"]


def test_a_person_of_the_same_name_is_another_matter(store, tmp_path):
    person = Deletion("p", "2026-01-01", "person", digest_of("b"), 1, ("e",))
    add_deletions(store.folder, [person])
    where = ["--store", str(store.folder)]
    assert CliRunner().invoke(app, ["forget", "b", *where]).exit_code == 0
    table = curated(store, tmp_path / "in.jsonl").artifact.corpus().to_arrow(columns=["id"])
    assert table["id"].to_pylist() == ["a", "a#2"]
    assert trace_document(store, "b")[0].role == "erased"


def forget(store, *arguments):
    command = ["forget", *arguments, "--store", str(store.folder)]
    return CliRunner().invoke(app, command, catch_exceptions=False)


def test_what_was_forgotten_is_listed_taken_back_and_collected_again(store, tmp_path):
    before = store.find("mine/curated").digest
    assert "nothing is forgotten" in forget(store, "--list").output
    forget(store, "b")
    curated(store, tmp_path / "in.jsonl")
    (line,) = json.loads(forget(store, "--list", "--json").stdout)
    assert (line["document"], line["taken_back"]) == ("b", None)
    assert line["id"] in forget(store, "--list").output
    with pytest.raises(StoreError, match="this is not forgotten"):
        forget(store, "--undo", "bb")
    assert "Taken back" in forget(store, "--undo", line["id"]).output
    assert json.loads(forget(store, "--list", "--json").stdout)[0]["taken_back"]
    with pytest.raises(StoreError, match="taken back already"):
        forget(store, "--undo", "b")
    outcome = curated(store, tmp_path / "in.jsonl")
    assert (outcome.reused, outcome.artifact.digest) == (True, before)
    first, *others = trace_document(store, "b")
    assert (first.role, "forgotten 20" in first.detail) == ("taken back", True)
    assert {each.role for each in others} == {"holds"}
    assert "made again" not in str(others)
    forget(store, "b")  # and once more
    (line,) = json.loads(forget(store, "--list", "--json").stdout)
    assert line["taken_back"] is None
    assert curated(store, tmp_path / "in.jsonl").artifact.digest != before


@pytest.mark.parametrize("arguments", [[], ["b", "--list"], ["b", "--plan", "--undo"], ["--undo"]])
def test_forget_is_of_one_document_or_lists(store, arguments):
    with pytest.raises(DataError, match="needs one document, or --list alone"):
        forget(store, *arguments)


def test_what_is_made_of_a_corpus_from_before_is_refused_while_it_holds_the_document(
    store, tmp_path
):
    former = store.find("mine/curated")
    forget(store, "a#2")  # known by its text alone: the id says where it stood
    forget(store, "c")
    told = "holds 1 document forgotten since it was made"
    with pytest.raises(StoreError, match=told):
        recut(store, former, ["language.characters=50"], silent=True)
    with pytest.raises(StoreError, match=told):
        run_phase("curate", store, data=["mine/collected"], settings=RULES, silent=True)
    with pytest.raises(StoreError, match=told):
        run_phase("tokenizer", store, data=["mine/curated"], silent=True)
    made = curated(store, tmp_path / "in.jsonl")
    again = recut(store, made.artifact, ["language.characters=50"], silent=True)
    assert again.artifact.corpus().to_arrow()["text"].to_pylist() == ["first", "third"]


def test_a_document_whose_text_curation_has_changed_is_known_by_its_id(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "one"}\n{"text": "write to ann.lee@mail.uni.de"}\n')
    opened = Store(tmp_path / "store")
    former = curated(opened, path)
    forget(opened, "in.jsonl#2")
    assert "<EMAIL>" in str(former.artifact.corpus().to_arrow()["text"])
    with pytest.raises(StoreError, match="holds 1 document forgotten"):
        run_phase("tokenizer", opened, data=["mine/curated"], silent=True)
