import json
from pydoc_data.topics import topics

import pytest

from volano.cli.main import run_command
from volano.core.errors import DataError, StoreError
from volano.core.store import Store
from volano.curate.dedup_section import MinHashSection
from volano.study.recut import recut
from volano.study.scale import (
    STAGES,
    CompareCost,
    Sample,
    Target,
    read_simulation,
    sample_of,
    scale_plan,
)
from volano.study.single import run_phase

SAMPLE = Sample(
    name="sample",
    documents=1_000,
    text_bytes=2_000_000,
    kept_documents=300,
    kept_bytes=500_000,
    shards=2,
    core_seconds={"collect": 18.0, "measure": 9.0, "compare": 0.9, "write": 3.6},
    peak_bytes=800_000_000,
    workers=4,
    input_files_bytes=700_000,
    output_files_bytes=200_000,
    scratch_files_bytes=100_000,
    minhash=MinHashSection(permutations=100, bands=10),
    machine="a machine",
)


def values(figures):
    return {each.name: each.value for each in figures}


def test_every_figure_is_the_one_worked_out_by_hand():
    target = Target(
        text_bytes=2_000_000_000_000,  # a million samples, 10^9 documents
        workers=100,
        memory_bytes=200_000_100,  # room for 10^8 documents of 2 bytes
        price_per_core_hour=0.05,
        keep_bytes=1_000_000_000_000,
    )
    found = values(scale_plan(SAMPLE, target, CompareCost(100, 2)))
    assert found == pytest.approx(
        {
            "documents": 1e9,
            "documents kept": 3e8,
            "text kept": 5e11,
            "text needed to keep that much": 4e12,
            "collect": 5_000,
            "measure": 2_500,
            "compare": 250,
            "write": 1_000,
            "all stages": 8_750,
            "memory of 4 workers that map": 8e8,
            "memory to compare all in one process": 100 + 2e9,
            "documents that a worker compares": 1e8,
            "parts deduplicated by themselves": 10,
            "signatures": 400 * 1e9,
            "band tables": 80 * 1e9,
            "written between stages and read again": 1e11 + 480e9,
            "disk": 9e11 + 1e11 + 480e9,
            "time": 8_500 / 100 + 25,
            "price": 437.5,
        }
    )


def test_more_workers_than_shards_or_parts_do_not_help():
    few, many = (
        values(scale_plan(SAMPLE, Target(20_000_000, workers=n)))["time"] for n in (20, 9999)
    )
    assert many == few  # 20 shards


def test_a_measured_comparison_takes_the_place_of_the_samples(tmp_path):
    rows = [
        {"documents": n, "peak_bytes": 1000 + 50 * n, "processor_seconds": n / 100}
        for n in (10**6, 4 * 10**6, 10**5)
    ]
    path = tmp_path / "simulation.json"
    path.write_text(json.dumps({"rows": rows}))
    cost = read_simulation(path)
    assert cost == pytest.approx((1000, 50, 0.01, 4 * 10**6))
    assert values(scale_plan(SAMPLE, Target(2_000_000_000), cost))["compare"] == 0.01 * 1e6 / 3600
    path.write_text('{"rows": []}')
    with pytest.raises(DataError, match="no simulation of two sizes"):
        read_simulation(path)


@pytest.mark.parametrize("peaks", [(5, 5), (6, 5), (1, 9_000_000)])
def test_a_simulation_without_growth_or_without_a_beginning_is_refused(tmp_path, peaks):
    path = tmp_path / "simulation.json"
    rows = [
        {"documents": size, "peak_bytes": peak, "processor_seconds": 1}
        for size, peak in zip((1_000_000, 2_000_000), peaks, strict=True)
    ]
    path.write_text(json.dumps({"rows": rows}))
    with pytest.raises(DataError, match="took more memory"):
        read_simulation(path)


def test_a_worker_without_room_for_a_document_is_refused():
    with pytest.raises(DataError, match="462 MiB before the first document"):
        scale_plan(SAMPLE, Target(10**9, memory_bytes=2**28))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scale")
    rows = [json.dumps({"id": name, "text": text}) for name, text in sorted(topics.items())]
    (folder / "in.jsonl").write_text("\n".join(rows))
    run_phase("curate", Store(folder / "store"), data=[str(folder / "in.jsonl")], silent=True)
    return folder


def test_a_real_run_is_told_from_its_bills_and_funnel(folder, capsys):
    store = Store(folder / "store")
    (curated,) = [each for each in store.artifacts() if each.name.endswith("curated")]
    sample = sample_of(store, curated)
    assert sample.documents == len(topics)
    assert sample.text_bytes == sum(len(text.encode()) for text in topics.values())
    assert list(sample.core_seconds) == ["collect", "measure", "compare", "write"]
    assert sample.kept_bytes == curated.corpus().manifest["text_bytes"]
    assert 0 < sample.core_seconds["measure"] <= curated.bill()["processor_seconds"]
    command = ["plan", curated.name, "--store", str(folder / "store"), "--bytes", "1.5TB"]
    assert run_command([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["target"]["text_bytes"] == 1_500_000_000_000
    figures = {each["name"]: each for each in found["figures"]}
    assert figures["documents"]["value"] == pytest.approx(len(topics) * 1.5e12 / sample.text_bytes)
    assert f"{sample.text_bytes:,} bytes of text" in figures["documents"]["formula"]
    assert run_command([*command, "--explain"]) == 0
    said = capsys.readouterr().out
    assert all(words in said for words in ("1.5 TB of text", "formula", "give --simulation"))


def test_what_cannot_tell_its_cost_is_refused(folder, capsys):
    store = Store(folder / "store")
    by_name = {each.name.rpartition("/")[2]: each for each in store.artifacts()}
    with pytest.raises(StoreError, match="no curated corpus but made by 'collect'"):
        sample_of(store, by_name["collected"])
    again = recut(store, by_name["curated"], ["quality.gopher_quality.min_words=90"], silent=True)
    with pytest.raises(StoreError, match="took over what another run had measured"):
        sample_of(store, again.artifact)
    command = ["plan", "mine/curated", "--store", str(folder / "store"), "--bytes"]
    assert run_command([*command, "ten"]) == 2
    assert "no size: 'ten'" in capsys.readouterr().err


def test_every_part_of_a_bill_is_a_stage_of_the_plan(folder):
    pytest.importorskip("sklearn")
    settings = ["boilerplate=on", "dedup.lines=on", "dedup.semantic.dimensions=8", "quality=off"]
    store, source = Store(folder / "all"), [str(folder / "in.jsonl")]
    run_phase("curate", store, data=source, settings=settings, silent=True)
    (curated,) = [each for each in store.artifacts() if each.name.endswith("curated")]
    parts = {
        name.removesuffix("_seconds")
        for name in curated.bill()
        if name.endswith("_seconds") and "processor" not in name
    }
    assert parts == set(STAGES)
    assert list(sample_of(store, curated).core_seconds) == ["collect", *STAGES]
