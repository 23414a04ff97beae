import dataclasses
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from toy_steps import (
    EMPTY,
    FILTER,
    LOG,
    NUMBERS,
    SCANNED,
    SEEDED,
    Filter,
    Nothing,
    Numbers,
    unreferenced,
)

from volano.core.artifact import Artifact, describe_files
from volano.core.errors import DataError, RunFailed, StoreError
from volano.core.files import read_json, write_json
from volano.core.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The lines that toy steps wrote when they really worked."""
    monkeypatch.setenv(LOG, str(tmp_path / "log"))
    return lambda: (tmp_path / "log").read_text().split("\n")[:-1]


def make(store, step=NUMBERS, section=None, inputs=None, name="toy/numbers", **more):
    section = section if section is not None else step.section()
    order = store.order(step, section, inputs or {}, name=name, **more)
    return store.make(order, silent=True)


def test_equal_settings_are_reused_and_the_step_runs_once(store, work):
    first, second = make(store), make(Store(store.folder))
    assert (first.reused, second.reused) == (False, True)
    assert first.artifact.folder == second.artifact.folder
    assert work().count("numbers") == 1


def test_an_artifact_says_what_it_is_and_from_what(store):
    parent = make(store).artifact
    child = make(store, FILTER, Filter(drop=["d0"]), {"documents": parent}, "toy/kept").artifact
    assert child.folder == store.folder / "corpus" / f"toy/kept-{child.fingerprint[:12]}"
    assert child.parents["documents"]["digest"] == parent.digest
    assert child.meta["identity"]["settings"] == {"drop": ["d0"]}
    assert child.bytes == sum(
        path.stat().st_size
        for path in child.folder.rglob("*")
        if path.is_file() and path.name not in {"artifact.json", "bill.json"}
    )
    assert child.bill()["seconds"] >= 0
    assert child.to_arrow(["id"])["id"].to_pylist() == [f"d{n}" for n in range(1, 6)]
    assert child.damage() is None


def test_each_part_of_the_identity_makes_a_new_artifact_beside_the_old(store, tmp_path):
    source = tmp_path / "input"
    source.write_text("a")
    plain = make(store)
    setting = make(store, section=Numbers(rows=4))
    version = make(store, dataclasses.replace(NUMBERS, version=2))
    listed = make(store, SCANNED, Numbers(path=str(source)))
    source.write_text("b")  # as long as before
    edited = make(store, SCANNED, Numbers(path=str(source)))
    seeds = [make(store, SEEDED, seed=seed) for seed in (1, 2, 1)]
    children = [
        make(store, FILTER, inputs={"documents": made.artifact}) for made in (plain, setting)
    ]
    made = [plain, setting, version, listed, edited, *seeds[:2], *children]
    assert not any(each.reused for each in made)
    assert seeds[2].reused
    assert len({each.artifact.folder for each in made}) == len(made)
    assert all(each.artifact.folder.is_dir() for each in made)


def test_a_seed_bears_no_identity_where_the_step_uses_none(store):
    make(store, seed=1)
    assert make(store, seed=2).reused


def test_a_moved_input_file_bears_no_identity(store, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "input").write_text("x")
    one, two = (SCANNED.scan(Numbers(path=str(tmp_path / f / "input"))) for f in "ab")
    assert one.digest() == two.digest()


def test_two_artifacts_with_equal_content_serve_a_child_alike(store):
    parents = [
        make(store, dataclasses.replace(NUMBERS, version=version)).artifact for version in (1, 2)
    ]
    assert parents[0].digest == parents[1].digest
    assert parents[0].fingerprint != parents[1].fingerprint
    first, second = (make(store, FILTER, inputs={"documents": each}) for each in parents)
    assert (first.reused, second.reused) == (False, True)


def test_a_name_stands_for_the_newest_made_or_reused(store):
    first = make(store).artifact
    second = make(store, section=Numbers(rows=4)).artifact
    assert store["toy/numbers"].folder == second.folder
    assert make(store).reused
    assert store["toy/numbers"].folder == first.folder
    assert make(store, name="other/name").reused  # one content may have two names
    assert store["other/name"].folder == first.folder
    assert set(store.labels()) == {"toy/numbers", "other/name"}


def test_an_artifact_is_found_by_name_path_and_fingerprint(store, tmp_path, monkeypatch):
    made = make(store).artifact
    path = store.path_of(made)
    bare = path.partition("/")[2]  # without the kind
    for reference in ("toy/numbers", path, str(made.folder), made.fingerprint[:6], bare, bare[:-6]):
        assert store.find(reference).folder == made.folder
    for stranger in (bare[:-6] + "/", "oy/numbers" + bare[-7:], "toy/numbers-0000"):
        with pytest.raises(StoreError):
            store.find(stranger)
    (store.folder / "labels/toy/numbers.json").unlink()
    assert store.find("toy/numbers").folder == made.folder
    monkeypatch.chdir(made.folder.parent)
    assert store.find(made.folder.name).folder.samefile(made.folder)


@pytest.mark.parametrize(
    ("reference", "remedy"),
    [
        ("toy/numbrs", "Did you mean 'toy/numbers'?"),
        ("", "Known: toy/numbers."),
        ("/no/such/folder", "Check the path."),
    ],
)
def test_an_unknown_reference_is_told_what_there_is(store, reference, remedy):
    make(store)
    with pytest.raises(StoreError) as refused:
        store.find(reference)
    assert refused.value.remedy == remedy


def test_an_empty_or_absent_store_is_told_to_be_empty_and_not_created(tmp_path):
    for folder in (tmp_path / "absent", tmp_path / "empty"):
        if folder.name == "empty":
            folder.mkdir()
        store = Store(folder)
        assert (store.artifacts(), store.labels(), store.unfinished()) == ([], {}, [])
        with pytest.raises(StoreError, match="The store is empty"):
            store.find("x")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert list((tmp_path / "empty").iterdir()) == []
    assert make(Store(tmp_path / "empty")).artifact.folder.is_dir()


@pytest.mark.parametrize("harm", ["delete", "truncate", "commit"])
def test_a_damaged_artifact_is_made_anew_and_said_once(store, capsys, harm):
    made = make(store).artifact
    shard = made.folder / "data/00001.parquet"
    if harm == "delete":
        shard.unlink()
    elif harm == "truncate":
        shard.write_bytes(shard.read_bytes()[:-1])
    else:
        (made.folder / "artifact.json").write_text("{")
    again = make(Store(store.folder))
    assert not again.reused
    assert again.artifact.folder == made.folder
    assert again.artifact.digest == made.digest
    said = capsys.readouterr().err
    assert said.count("it is made anew") == (harm != "commit")
    if harm != "commit":
        assert f"{store.path_of(made)}: data/00001.parquet " in said
    assert make(store).reused


def test_looking_for_a_damaged_artifact_announces_nothing(store, capsys):
    made = make(store).artifact
    (made.folder / "data/00001.parquet").unlink()
    order = store.order(NUMBERS, Numbers(), {}, name="toy/numbers")
    assert store.existing(order) is None
    assert capsys.readouterr().err == ""


def test_a_lost_bill_harms_nothing(store):
    made = make(store).artifact
    (made.folder / "bill.json").unlink()
    again = make(store)
    assert again.reused
    assert again.artifact.bill() == {}


@pytest.fixture(scope="module")
def twenty(tmp_path_factory):
    """A store of twenty artifacts, to be copied."""
    store = Store(tmp_path_factory.mktemp("twenty"))
    for rows in range(1, 21):
        make(store, section=Numbers(shards=1, rows=rows))
    store.index.connection.close()
    return store.folder


@pytest.mark.parametrize("harm", ["delete", "garbage", "page", "other layout", "empty", "folder"])
def test_a_lost_or_damaged_index_is_rebuilt_from_the_folders(twenty, tmp_path, harm):
    folder = shutil.copytree(twenty, tmp_path / "store")
    index = folder / "index.sqlite"
    if harm == "garbage":
        index.write_bytes(b"no database " * 1000)
    elif harm == "page":
        content = bytearray(index.read_bytes())
        content[4096:20480] = b"\xff" * 16384
        index.write_bytes(content)
    elif harm == "empty":
        index.write_bytes(b"")
    else:
        index.unlink()
    if harm == "folder":
        index.mkdir()
    if harm == "other layout":
        with sqlite3.connect(index) as other:
            other.execute("create table artifacts (path text, size integer)")
            other.execute("pragma user_version = 7")
        other.close()
    again = Store(folder)
    assert len(again.artifacts()) == 20
    assert make(again, section=Numbers(shards=1, rows=5)).reused
    if harm != "folder":
        with closing(sqlite3.connect(index)) as rebuilt:  # for the next run, not in memory only
            assert rebuilt.execute("select count(meta) from artifacts").fetchone() == (20,)


def test_an_index_deleted_under_an_open_store_does_not_stop_it(store):
    make(store)
    (store.folder / "index.sqlite").unlink()
    make(store, section=Numbers(rows=4))
    assert len(store.artifacts()) == 2


def test_a_damaged_label_counts_as_none_and_is_written_again(store):
    made = make(store).artifact
    label = store.folder / "labels/toy/numbers.json"
    label.write_text("{")
    assert store.labels() == {}
    assert store["toy/numbers"].folder == made.folder
    make(store)
    assert read_json(label) == {"artifact": store.path_of(made)}


def test_a_deleted_artifact_is_forgotten_and_made_again(store):
    made = make(store).artifact
    store.delete(made.folder)
    assert store.artifacts() == []
    with pytest.raises(StoreError, match="no artifact"):
        store.find("toy/numbers")
    assert not make(store).reused


def test_a_newer_store_or_artifact_is_refused(store):
    made = make(store).artifact
    write_json(made.folder / "artifact.json", {**made.meta, "format": 99})
    with pytest.raises(StoreError, match=r"newer Volano \(artifact format 99.*Upgrade"):
        Artifact.open(made.folder)
    with pytest.raises(StoreError, match="artifact format 99"):
        make(store)
    write_json(store.folder / "volano-store.json", {"format": 99})
    with pytest.raises(StoreError, match=r"newer Volano \(store format 99, known: 1\)"):
        Store(store.folder)


def test_a_damaged_mark_is_to_be_deleted_alone(store):
    make(store)
    (store.folder / "volano-store.json").write_text("garbage")
    with pytest.raises(StoreError, match="Delete this file alone"):
        Store(store.folder)
    (store.folder / "volano-store.json").unlink()
    assert len(Store(store.folder).artifacts()) == 1


def test_a_folder_of_other_things_a_file_and_a_url_are_refused(tmp_path):
    (tmp_path / "corpus").mkdir()  # a name of ours, but nothing of ours in it
    (tmp_path / "corpus" / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match=r"this folder holds other things \(corpus, …\)"):
        Store(tmp_path)
    with pytest.raises(StoreError, match="this is no folder"):
        Store(tmp_path / "corpus" / "thesis.tex")
    with pytest.raises(StoreError, match="behind a URL"):
        Store("s3://bucket/runs")
    assert [path.name for path in tmp_path.rglob("*")] == ["corpus", "thesis.tex"]


def test_a_store_killed_at_birth_or_without_its_mark_opens(store):
    store.folder.mkdir()
    (store.folder / ".volano-store.json.123.456.tmp").write_text("{")
    (store.folder / "index.sqlite").write_bytes(b"")
    (store.folder / "building").mkdir()
    make(Store(store.folder))
    (store.folder / "volano-store.json").unlink()
    assert len(Store(store.folder).artifacts()) == 1


def test_what_no_label_stands_for_is_unreferenced_but_parents_are_kept(store):
    old = make(store).artifact
    new = make(store, section=Numbers(rows=4)).artifact
    make(store, FILTER, inputs={"documents": old}, name="toy/kept")
    assert unreferenced(store) == []  # `old` lost its label and is a parent
    newest = make(store, FILTER, inputs={"documents": new}, name="toy/kept").artifact
    left = {each.folder for each in unreferenced(store)}
    assert old.folder in left
    assert not left & {new.folder, newest.folder}
    assert len(left) == 2  # and its child


def test_a_failed_step_publishes_nothing_and_stays_unfinished(store):
    def fail(section, inputs, context):
        (context.folder / "half").write_text("x")
        raise DataError("nothing to read", "input", "Give some.")

    with pytest.raises(DataError, match="nothing to read"):
        make(store, dataclasses.replace(NUMBERS, run=fail))
    assert store.artifacts() == []
    assert not (store.folder / "corpus").exists()
    (unfinished,) = store.unfinished()
    assert (unfinished / "artifact" / "half").is_file()
    store.delete(unfinished)
    assert list((store.folder / "building").iterdir()) == []


def test_the_bill_adds_up_all_sittings_and_names_those_that_were_killed(store):
    def stopped(section, inputs, context):
        time.sleep(0.05)
        raise KeyboardInterrupt

    def killed(section, inputs, context):
        shutil.copytree(context.folder.parent, store.folder / "killed")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(store, dataclasses.replace(NUMBERS, run=stopped))
    with pytest.raises(KeyboardInterrupt):
        make(store, dataclasses.replace(NUMBERS, run=killed))
    (building,) = store.unfinished()
    shutil.rmtree(building)  # as the kill left it, before its figures were written
    (store.folder / "killed").rename(building)
    bill = make(store).artifact.bill()
    assert (bill["sittings"], bill["sittings_killed"]) == (3, 1)
    assert 0.05 <= bill["seconds"] < 5
    assert "sittings" not in make(store, section=Numbers(rows=9)).artifact.bill()


def test_a_step_that_writes_nothing_is_refused(store):
    with pytest.raises(DataError, match="nothing came out"):
        make(store, EMPTY, Nothing())


def test_an_os_error_inside_a_step_becomes_a_clear_line(store, tmp_path):
    def fail(section, inputs, context):
        (tmp_path / "gone").read_text()

    with pytest.raises(RunFailed) as failed:
        make(store, dataclasses.replace(NUMBERS, run=fail))
    assert str(failed.value).startswith(f"{tmp_path / 'gone'}: No such file or directory.")


def test_artifact_json_is_written_last(store, monkeypatch):
    written = []

    def watched(path, value):
        written.append(path.name)
        write_json(path, value)

    monkeypatch.setattr("volano.core.store.write_json", watched)
    made = make(store).artifact
    assert written == ["volano-store.json", "bill.json", "artifact.json", "numbers.json"]
    ages = {path.name: path.stat().st_mtime_ns for path in made.folder.rglob("*.*")}
    assert max(ages, key=ages.get) == "artifact.json"


def test_every_file_and_folder_is_on_the_disk_before_it_is_published(store, monkeypatch):
    synced = []
    monkeypatch.setattr("volano.core.store.sync", lambda path: synced.append(path.name))
    rename = Path.rename

    def watched(self, target):
        assert {"data", "00000.parquet", "manifest.json", "artifact"} <= set(synced)
        synced.append("published")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", watched)
    make(store)
    assert synced[-2:] == ["published", "toy"]


def test_what_killed_writers_left_is_neither_published_nor_digested(store):
    reference = make(store).artifact.digest

    def litter(section, inputs, context):
        NUMBERS.run(section, inputs, context)
        (context.folder / "data" / ".00001.parquet.77.88.tmp").write_text("half")

    made = make(store, dataclasses.replace(NUMBERS, run=litter, version=2)).artifact
    assert made.digest == reference
    assert not list(made.folder.rglob("*.tmp"))


def test_stages_of_one_recipe_have_leases_of_their_own(store):
    held = []

    def look(section, inputs, context):
        held.extend(path.name for path in (store.folder / "building").glob("*.lease"))
        assert store.unfinished() == []  # it is being made, not left behind
        (context.folder / "x").write_text("x")

    made = make(store, dataclasses.replace(NUMBERS, run=look), name="recipe-3.12/numbers").artifact
    assert held == [f"recipe-3.12.numbers-{made.fingerprint[:12]}.lease"]
    assert list((store.folder / "building").iterdir()) == []


@pytest.mark.parametrize("name", ["with space", "ünï/コード", "id=7", "a[1]*"])
def test_a_store_may_lie_anywhere(tmp_path, name):
    store = Store(tmp_path / name)
    made = make(store, name="toy 'quoted' ü/numbers").artifact
    kept = make(store, FILTER, Filter(drop=["d1"]), {"documents": made}, "toy/kept").artifact
    assert store["toy 'quoted' ü/numbers"].digest == made.digest
    assert {each.role for each in store.trace("d1")} == {"holds", "dropped"}
    assert kept.duckdb().execute("select count(*) from data").fetchone() == (5,)


def test_what_was_measured_is_published_and_not_digested(tmp_path):
    (tmp_path / "measurements").mkdir()
    (tmp_path / "content").write_text("x")
    before = describe_files(tmp_path)
    (tmp_path / "measurements" / "steps.parquet").write_text("0.1 s")
    assert describe_files(tmp_path) == before
    assert list(before) == ["content"]


def test_equal_content_has_equal_digests_in_other_stores(tmp_path):
    digests = {make(Store(tmp_path / str(place))).artifact.digest for place in range(2)}
    assert len(digests) == 1
