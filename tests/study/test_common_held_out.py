"""Arms that hold out different documents are measured on the same ones."""

import json

import pytest

from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.errors import DataError
from volano.core.recipe import Section
from volano.core.records import Conversation, Message, table_of
from volano.core.step import Step
from volano.core.store import Store
from volano.evaluate.domains import DOCUMENTS_FILE
from volano.study.ablation import ablate, plan_ablation
from volano.study.ablation_page import write_ablation_page
from volano.study.ablation_plan import reckon
from volano.study.axes import arms_of
from volano.study.common_held_out import COMMON, with_common
from volano.study.section import AblateSection

pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("torch")
pytestmark = pytest.mark.xdist_group("common held out")


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Two files, one of which says the same again and again."""
    easy = [f"The river runs to the sea on day {n}." * 9 for n in range(40)]
    hard = [" ".join(f"{(n * 7919 + k * 104729) % 99991:x}" for k in range(60)) for n in range(40)]
    for name, texts in (("easy", easy), ("hard", hard), ("both", easy + hard)):
        lines = [json.dumps({"id": f"{hash_of(each)}", "text": each}) for each in texts]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / "mine.yaml").write_text(
        "name: mine\ncollect: {source: files, paths: [easy.jsonl], held_out_fraction: 0.3}\n"
        "curate: {language: off, quality: off, dedup: off, decontaminate: off}\n"
        "tokenizer: {vocabulary: 300}\n"
        "pretrain: {model: {parameters: 0.02M}, tokens: 5k, batch_rows: 1}\n"
        "finetune: off\nalign: off\nevaluate: off\nablate: {seeds: 2, signal: off}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hash_of(text):
    return sum(map(ord, text)) * 31 + len(text)


def test_arms_that_collect_differently_are_measured_on_the_same_documents(desk):
    store = Store(desk / "runs")
    lines = []
    arms = arms_of("mine.yaml", ["collect.paths=[hard.jsonl],[easy.jsonl]"])
    ablation = plan_ablation(arms)
    found = ablate(ablation, store, silent=True, told=lines.append)
    assert any("all are measured on the" in each for each in lines)
    measured = [
        pq.read_table(each.measured["domains"].folder / DOCUMENTS_FILE) for each in found.tried
    ]
    ids = [sorted(each["id"].to_pylist()) for each in measured]
    assert ids[0] == ids[1] == ids[2] == ids[3]
    common = store[f"mine-ablation/{COMMON}"].corpus()
    assert len(ids[0]) == common.manifest["records"] >= 10  # easy ones are alike
    metrics = {each["metric"] for each in found.report.report().comparisons}
    assert metrics == {"bits_per_byte.text"}
    assert reckon(ablation, store).trials == ()  # what is measured already is known


def test_what_one_arm_trains_on_is_measured_in_none(desk):
    store = Store(desk / "runs")
    arms = arms_of("mine.yaml", ["collect.held_out_fraction=0.3,0.6"])
    ablate(plan_ablation(arms), store, silent=True)
    common = {each.text for each in store[f"mine-ablation/{COMMON}"].corpus().records()}
    for each in store.artifacts():
        if each.name == "mine-ablation/collected":
            records = list(each.corpus().records())
            assert not common & {one.text for one in records if one.split == "train"}


def test_a_document_of_which_another_arm_trains_on_an_edited_copy_is_measured_in_none(desk):
    texts = [json.loads(each)["text"] for each in (desk / "hard.jsonl").read_text().splitlines()]
    others = [" ".join(reversed(text.split())) for text in texts]
    edited = [text.split() for text in texts[:6]]
    for words in edited:
        words[30] = "edited"
    for name, lines, more in (("one", texts, []), ("other", others, edited)):
        records = [
            {"id": f"{name}{n}", "text": text, "split": "test" if n < 12 else "train"}
            for n, text in enumerate([*lines, *map(" ".join, more)])
        ]
        (desk / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)))
    store = Store(desk / "runs")
    arms = arms_of("mine.yaml", ["collect.paths=[one.jsonl],[other.jsonl]"])
    report = ablate(plan_ablation(arms), store, silent=True).report.report()
    common = {each.text for each in store[f"mine-ablation/{COMMON}"].corpus().records()}
    assert common == {*texts[6:12], *others[:12]}
    assert report.extra["common"] == 18
    assert [each["held_out"] for each in report.extra["overlap"].values()] == [[0, 18], [0, 18]]
    page = desk / "page.html"
    write_ablation_page(store, store["mine-ablation/verdicts"], page)
    assert "all are measured on the 18 that none trains on as they are" in page.read_text("utf-8")


def test_where_nothing_is_left_it_is_said_and_a_reference_helps(desk):
    whole = [json.loads(line) for line in (desk / "both.jsonl").read_text().splitlines()]
    for name, held in (("one", 0), ("other", 1)):
        records = [
            each | {"split": "test" if n % 2 == held else "train"} for n, each in enumerate(whole)
        ]
        (desk / f"{name}.jsonl").write_text("\n".join(json.dumps(each) for each in records))
    asked = ["collect.paths=[one.jsonl],[other.jsonl]"]
    with pytest.raises(DataError, match=r"Set ablate\.reference"):
        ablate(plan_ablation(arms_of("mine.yaml", asked)), Store(desk / "runs"), silent=True)
    neutral = [
        {"id": f"n{n}", "text": f"{n} bridges stand in the old town. " * 9} for n in range(4)
    ]
    (desk / "neutral.jsonl").write_text("\n".join(map(json.dumps, neutral)))
    asked.append("ablate.reference={source: files, paths: [neutral.jsonl]}")
    found = ablate(plan_ablation(arms_of("mine.yaml", asked)), Store(desk / "runs"), silent=True)
    report = found.report.report()
    assert {each["metric"] for each in report.comparisons} == {"bits_per_byte.reference: text"}
    asked.append("ablate.metrics=[bits_per_byte, toxicity]")
    with pytest.raises(DataError, match="measure bits per byte alone"):
        ablate(plan_ablation(arms_of("mine.yaml", asked)), Store(desk / "runs"), silent=True)


def test_conversations_that_arms_hold_out_differently_are_refused_where_they_are_measured(tmp_path):
    store, data = Store(tmp_path / "runs"), {}
    talk = (Message("user", "Hello?"), Message("assistant", "Hello."))
    for arm, split in (("one", "test"), ("other", "train")):

        def write(section, inputs, context, split=split):
            records = [Conversation("c", talk, "s", split=split)]
            write_shard(shard_path(context.folder, "data", 0), table_of(records, Conversation))
            finish_corpus(context.folder, "conversation")

        step = Step(f"talk_{arm}", "corpus", 1, Section, write)
        order = store.order(step, Section(), {}, name=f"mine/{arm}")
        data[arm] = {"conversations": store.make(order, silent=True).artifact}
    told = []
    asked = AblateSection(tasks=["safety"])
    assert with_common(data, store, "mine", asked, silent=True, told=told.append) is data
    asked = AblateSection(tasks=["conversations"])
    with pytest.raises(DataError, match="hold out different conversations"):
        with_common(data, store, "mine", asked, silent=True, told=told.append)


def test_the_arm_that_others_are_compared_with_has_to_be_there(desk):
    store = Store(desk / "runs")
    none = "{rules: [gopher_quality], gopher_quality: {min_words: 9000}}"
    arms = arms_of("mine.yaml", [f"curate.quality={none},off"])
    with pytest.raises(DataError, match="the arm that others are compared with"):
        ablate(plan_ablation(arms), store, silent=True)
    assert not [each for each in store.artifacts() if each.kind == "checkpoint"]


@pytest.mark.whole
def test_each_size_reads_its_text_as_often_as_the_first_arm_of_that_size(desk):
    store = Store(desk / "runs")
    asked = ["collect.paths=[easy.jsonl],[both.jsonl]", "pretrain.tokens=3k,6k"]
    ablation = plan_ablation(arms_of("mine.yaml", [*asked, "ablate.match=documents"]))
    before = reckon(ablation, store)
    assert "whose text is not packed yet" in before.note
    found = ablate(ablation, store, silent=True)
    tokens = {each.trial.arm.label: each.trial.arm.tokens for each in found.tried}
    assert len(set(tokens.values())) == 4
    first, second = (value for label, value in tokens.items() if "easy" in label)
    assert second == pytest.approx(2 * first, rel=0.05)
    assert reckon(ablation, store).trials == ()
