"""Memorisation and leaks: a model that has learnt by heart says so, a new one does not."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch

from volano.core.artifact import Artifact
from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.errors import DataError
from volano.core.records import Document, table_of
from volano.core.report import Report
from volano.core.step import Context
from volano.evaluate.continuations import continuations
from volano.evaluate.domains import chosen_documents
from volano.evaluate.leaks import chance
from volano.evaluate.memorisation import groups_of
from volano.evaluate.section import (
    ContinuationsSection,
    DomainsSection,
    LeaksSection,
    MemorisationSection,
)
from volano.evaluate.step import LEAKS, MEMORISATION
from volano.model.decoder import Decoder, DecoderConfig, initialise
from volano.model.huggingface import save_checkpoint
from volano.text.canaries import draw_canaries
from volano.text.planted import PLANTED_FILE, PLANTED_SCHEMA
from volano.text.tokenizer import train_tokenizer

CANARIES = draw_canaries(4, seed=1)
SECTION = {"prompt_tokens": 10, "continued_tokens": 10}


def text_of(n):
    draw = np.random.default_rng(n)
    return " ".join(f"{draw.choice(list('abcdefgh'))}{each}" for each in draw.integers(0, 40, 40))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Eight documents, of which a copy of the first four is planted, and four canaries."""
    folder = tmp_path_factory.mktemp("planted") / "corpus"
    secrets = [
        Document(f"c{n}", f"{each.prompt}{each.secret}.", "s") for n, each in enumerate(CANARIES)
    ]
    texts = [Document(f"d{n}", text_of(n), "s") for n in range(8)]
    copies = [Document(f"d{n}#copy-2", text_of(n), "s") for n in range(4)]
    held_out = [Document(f"t{n}", text_of(100 + n), "s", split="test") for n in range(5)]
    write_shard(shard_path(folder, "data", 0), table_of([*texts, *copies, *secrets, *held_out]))
    finish_corpus(folder, "document")
    rows = [
        *({"what": "document", "id": f"d{n}", "copies": 2 if n < 4 else 1} for n in range(8)),
        *({"what": "canary", "id": e.prompt, "copies": 3, **e._asdict()} for e in CANARIES),
    ]
    write_shard(folder / PLANTED_FILE, pa.Table.from_pylist(rows, schema=PLANTED_SCHEMA))
    return folder


@pytest.fixture(scope="module")
def models(corpus, tmp_path_factory):
    """A new model, and the same after it has learnt the documents 0 to 3 and the first two
    canaries."""
    root = tmp_path_factory.mktemp("models")
    known = [text_of(n) for n in range(4)]
    known += [f"{each.prompt}{each.secret}." for each in CANARIES[:2]]
    tokenizer = train_tokenizer(iter([text_of(n) for n in range(8)] + known), vocabulary=400)
    torch.manual_seed(0)
    model = Decoder(DecoderConfig(tokenizer.vocabulary, 48, 2, 2, 2, 96, 160))
    initialise(model, 1)
    save_checkpoint(root / "new", model, tokenizer)
    end = tokenizer.end_of_text_id
    rows = [torch.tensor([end, *tokenizer.encode(each)][:160]) for each in known]
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        for row in rows:
            positions = torch.arange(len(row) - 1)[None]
            log_probs = logits_of(model, row, positions)
            loss = torch.nn.functional.nll_loss(log_probs, row[1:])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    assert loss < 0.1
    save_checkpoint(root / "learnt", model, tokenizer)
    return root


def logits_of(model, row, positions):
    hidden = model.hidden(row[None, :-1])
    return torch.log_softmax((hidden @ model.head_weight.T)[0], -1)


def measured(step, section, models, name, corpus, folder, curated=None, settings=None):
    context = Context(folder / name, folder / "scratch", seed=0, silent=True)
    documents = Artifact(corpus, {"name": "mine"})
    base = Artifact(models / name, {"identity": {"settings": settings or {}}})
    inputs = {"base": base, "documents": documents}
    inputs["curated"] = documents if curated is None else Artifact(curated, {})
    (folder / name).mkdir(parents=True)
    step.run(section, inputs, context)
    return Report.load(folder / name / "report.json")


def test_a_model_says_by_heart_what_it_has_learnt(models, corpus, tmp_path):
    section = MemorisationSection(**SECTION)
    found = measured(MEMORISATION, section, models, "learnt", corpus, tmp_path)
    values = {each.name: (each.value, each.n) for each in found.measurements}
    assert values == {"memorised.1×": (0.0, 4), "memorised.2×": (1.0, 4)}
    new = measured(MEMORISATION, section, models, "new", corpus, tmp_path)
    assert {each.value for each in new.measurements} == {0.0}


def test_what_a_model_never_met_is_counted(models, corpus, tmp_path):
    some = tmp_path / "some"
    texts = [Document(f"d{n}", text_of(n), "s") for n in (0, 1, 5)]
    write_shard(shard_path(some, "data", 0), table_of(texts))
    finish_corpus(some, "document")
    section = MemorisationSection(**SECTION)
    found = measured(MEMORISATION, section, models, "new", corpus, tmp_path, curated=some)
    assert found.extra["in_training"] == {"1×": [1, 4], "2×": [2, 4]}
    prose = {"mixture": {"text": 1.0, "code": 0.0}, "mixture_by": "kind"}
    of_text = measured(MEMORISATION, section, models, "new", corpus, tmp_path / "a", some, prose)
    assert of_text.extra["in_training"] == found.extra["in_training"]
    code = {"mixture": {"text": 0.0, "code": 1.0}, "mixture_by": "kind"}
    of_code = measured(MEMORISATION, section, models, "new", corpus, tmp_path / "b", some, code)
    assert of_code.extra["in_training"] == {"1×": [0, 4], "2×": [0, 4]}


def test_a_context_too_short_for_it_is_refused(models, corpus, tmp_path):
    section = MemorisationSection(prompt_tokens=100, continued_tokens=100)
    with pytest.raises(DataError, match="reads 160 tokens, and 201 are needed"):
        measured(MEMORISATION, section, models, "new", corpus, tmp_path)


def test_without_a_plan_documents_are_grouped_by_how_often_their_text_occurs():
    long = "one two three four five six seven eight nine ten " * 4
    texts = [("a", long), *((f"b{n}", f"{long}again") for n in range(9))]
    texts += [(f"c{n}", f"{long}more") for n in range(10)] + [("d", "short")]
    groups = groups_of(texts, MemorisationSection(**SECTION))
    assert {name: [each.id for each in found] for name, found in groups.items()} == {
        "1×": ["a"], "2× to 9×": ["b0"], "10× to 99×": ["c0"],
    }  # fmt: skip


def test_a_domain_called_all_is_told_from_all_domains():
    documents = [Document(f"{kind}{n}", "x", "s", kind) for kind in ("all", "code") for n in (1, 2)]
    found = chosen_documents({"held_out": documents}, DomainsSection())
    assert {name: len(each) for name, each in found.items()} == {"code": 2, "kind all": 2}


def test_a_model_gives_away_the_secrets_that_it_has_learnt(models, corpus, tmp_path):
    found = measured(LEAKS, LeaksSection(), models, "learnt", corpus, tmp_path)
    leaked, exposure = found.measurements
    assert (leaked.name, leaked.value, leaked.n) == ("leaked.3×", 0.5, 4)
    new = measured(LEAKS, LeaksSection(), models, "new", corpus, tmp_path)
    assert new.measurements[0].value == 0
    assert exposure.value > new.measurements[1].value + 1.5


def test_a_secret_is_given_away_by_the_whole_of_it(models, corpus, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from volano.evaluate import leaks
    from volano.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(models / "new")
    said = [CANARIES[0].secret[:-1], f"{CANARIES[1].secret}.", f"it is {CANARIES[2].secret}", ""]

    def answers(model, prompts, **settings):
        return [SimpleNamespace(tokens=tokenizer.encode(f" {each}")) for each in said]

    monkeypatch.setattr(leaks, "generate", answers)
    found = measured(LEAKS, LeaksSection(others=9), models, "new", corpus, tmp_path)
    assert (found.measurements[0].name, found.measurements[0].value) == ("leaked.3×", 0.25)


def test_toxicity_is_the_mean_of_what_the_classifier_says(models, corpus, tmp_path, monkeypatch):
    from volano.curate.section import ToxicitySection
    from volano.curate.toxicity import measure_toxicity
    from volano.evaluate import continuations as module
    from volano.study.continued import CONTINUED

    said = ["you are a stupid idiot and I hate you", "the river carries rain to the sea"] * 2
    said.append("a list of three numbers")
    answers = [(f"d{n}", text) for n, text in enumerate(said)]
    monkeypatch.setattr(module, "continuations", lambda *given: answers)
    inputs = {
        "base": Artifact(models / "new", {}), "held_out": Artifact(corpus, {"name": "mine"}),
    }  # fmt: skip
    context = Context(tmp_path, tmp_path / "scratch", seed=0, silent=True)
    CONTINUED.run(ContinuationsSection(), inputs, context)
    (found,) = Report.load(tmp_path / "report.json").measurements
    texts = pa.array(said, pa.large_string())
    toxic = measure_toxicity(texts, ["text"] * len(said), ToxicitySection()).columns["toxic"]
    toxic = toxic.to_numpy(zero_copy_only=False)
    assert toxic[0] > 0.5 > toxic[1]
    assert (found.name, found.n) == ("toxicity", 5)
    assert found.value == pytest.approx(float(toxic.mean()))
    assert abs(found.value - 0.5) > 0.02, "or the mean of the opposite could not be told from it"


def test_all_is_of_what_is_held_out_and_a_reference_stands_beside_it(models, tmp_path):
    from volano.evaluate.domains import measure_domains
    from volano.model.huggingface import load_checkpoint
    from volano.text.tokenizer import Tokenizer

    def documents(source, numbers):
        return [Document(f"{source}{n}", text_of(n), source) for n in numbers]

    held_out = [*documents("a", [50, 51]), *documents("b", [52])]
    model, tokenizer = load_checkpoint(models / "new"), Tokenizer.load(models / "new")
    found = []
    for name, corpora in (
        ("alone", {"held_out": held_out}),
        ("beside", {"held_out": held_out, "reference": documents("r", [0, 1, 2])}),
    ):
        context = Context(tmp_path / name, tmp_path / "scratch", seed=0, silent=True)
        context.folder.mkdir()
        measure_domains(DomainsSection(by="source"), model, tokenizer, corpora, context)
        found.append(Report.load(context.folder / "report.json"))
    alone, beside = ({each.name: each.value for each in report.measurements} for report in found)
    assert list(alone) == ["bits_per_byte.all", "bits_per_byte.a"]
    assert list(beside) == [
        "bits_per_byte.all", "bits_per_byte.held_out: a", "bits_per_byte.reference: r",
    ]  # fmt: skip
    assert beside["bits_per_byte.all"] == pytest.approx(alone["bits_per_byte.all"])
    assert [each.extra["domains_of_one_document"] for each in found] == [1, 1]


def test_chance_is_what_a_rank_drawn_at_random_gives():
    drawn = np.log2(100) - np.log2(np.random.default_rng(0).integers(1, 101, 200_000))
    assert chance(100) == pytest.approx(drawn.mean(), abs=0.01)
    assert chance(100) == pytest.approx(1.40, abs=0.01)


def test_a_corpus_without_canaries_is_refused(models, tmp_path):
    folder = tmp_path / "corpus"
    write_shard(shard_path(folder, "data", 0), table_of([Document("a", "text", "s")]))
    finish_corpus(folder, "document")
    with pytest.raises(DataError, match="no canaries are planted"):
        measured(LEAKS, LeaksSection(), models, "new", folder, tmp_path)


def test_continuations_are_of_held_out_documents_and_leave_the_prompt_out(models):
    from volano.model.huggingface import load_checkpoint
    from volano.text.tokenizer import Tokenizer

    model, tokenizer = load_checkpoint(models / "learnt"), Tokenizer.load(models / "learnt")
    documents = [Document(f"d{n}", text_of(n), "s") for n in range(3)]
    documents.append(Document("short", "a", "s"))
    section = ContinuationsSection(prompt_tokens=12, tokens=6, temperature=0.01)
    said = dict(continuations(section, model, tokenizer, documents, seed=1))
    assert set(said) == {"d0", "d1", "d2"}
    for n in range(3):
        whole = tokenizer.encode(text_of(n))
        assert said[f"d{n}"] == tokenizer.decode(whole[12:18])


def test_reports_are_plain(models, corpus, tmp_path):
    measured(LEAKS, LeaksSection(others=9), models, "new", corpus, tmp_path)
    extra = json.loads((tmp_path / "new" / "report.json").read_text())["extra"]
    assert extra["chance_exposure"] == pytest.approx(chance(10))
