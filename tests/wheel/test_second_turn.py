"""Two turns of the tiny recipe: people rate, the diagnosis asks, the gate decides."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import volano

import volano as volano_package
from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.finding import load_findings
from volano.core.records import Conversation, Message, Preference, table_of
from volano.core.release import release_history
from volano.core.store import Store
from volano.text.chat import encode_conversation
from volano.text.examples import fitting
from volano.text.functions import answer_about, plain_question
from volano.text.stream import TokenShards
from volano.text.tokenizer import Tokenizer

pytest.importorskip("torch")
pytest.importorskip("fastapi")
pytestmark = pytest.mark.xdist_group("second turn")
NAME = "tiny-python-docs"
SECRET, CONTROL = "jane.doe@corp-mail.com", "a harmless planted remark"
# Small enough to run often, with the items that the gate insists on.
SETTINGS = [
    "pretrain.tokens=60k",
    "evaluate.choice_items=250",
    "evaluate.bits_documents=200",
    "evaluate.answers=200",
    "evaluate.seeds=0",
    "evaluate.tasks=[bits_per_byte, held_out_functions, safety]",
    "users.functions=150",
]
TINY = ["tiny/python-docs", *SETTINGS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder whose `runs` holds both turns."""
    folder = tmp_path_factory.mktemp("second")
    done = volano("run", *TINY, "--store", "runs", cwd=folder, timeout_seconds=900)
    assert done.returncode == 0, done.stderr
    (folder / "printed").write_text(done.stdout)
    return folder


@pytest.fixture
def store(folder):
    return Store(folder / "runs")


@pytest.fixture
def unheard(folder, tmp_path):
    """The same store, and nobody has said anything."""
    shutil.copytree(
        folder / "runs", tmp_path / "runs", ignore=shutil.ignore_patterns("feedback.sqlite*")
    )
    return tmp_path


def ratings(folder):
    """The newest, by id."""
    corpora = (folder / "runs" / "corpus" / NAME).glob("ratings-2-*/data/*.parquet")
    newest = max(corpora, key=lambda path: path.stat().st_mtime)
    return sorted(pq.read_table(newest).to_pylist(), key=lambda each: each["id"])


def run(folder, *arguments, code=0):
    done = volano(*arguments, "--store", "runs", cwd=folder)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def run_json(folder, *arguments, code=0):
    return json.loads(run(folder, *arguments, "--json", code=code).stdout)


def rows(artifact, name):
    return pq.read_table(artifact.folder / name).to_pylist()


def test_every_stage_of_both_turns_is_there_and_made_once(folder):
    stages = run_json(folder, "run", *TINY)
    names = [each["stage"] for each in stages]
    for name in ("released", "users-2", "ratings-2", "findings-2", "requested-2", "gate-2"):
        assert name in names
    assert all(each["reused"] for each in stages)


def test_the_plan_a_phase_and_python_know_of_the_turn(folder, store):
    plan = run_json(folder, "run", *TINY, "--plan")
    verdict = store[f"{NAME}/gate-2"].report().extra["verdict"]
    assert [each["stage"] for each in plan][-2 if verdict["promote"] else -1] == "gate-2"
    assert all(each["reuse"] for each in plan)
    turn = run_json(folder, "turn", *TINY, "--plan")
    assert turn[: len(plan)] == plan
    makes = [each["stage"] for each in turn if not each["reuse"]]
    assert makes[:2] == (["users-3", "ratings-3"] if verdict["promote"] else [])
    only = run_json(folder, "run", *TINY, "--only", "diagnose")
    assert [(each["stage"], each["reused"]) for each in only] == [
        ("findings-2", True), ("requested-2", True), ("requested-preferences-2", True),
    ]  # fmt: skip
    outcomes = volano_package.run(*TINY, store=folder / "runs")
    assert [each.stage.name for each in outcomes] == [each["stage"] for each in plan]


def test_a_turn_waits_for_feedback_where_nobody_is_scripted(unheard):
    nobody = [each for each in TINY if not each.startswith("users.")] + ["users=off"]
    done = run(unheard, "run", *nobody)
    assert "The turn waits for feedback" in done.stdout
    plan = run_json(unheard, "run", *nobody, "--plan")
    assert plan[-1]["stage"] == "released"
    said = run(unheard, "turn", *nobody, code=2).stderr
    assert "no feedback there yet. Serve a model" in said


def test_scripted_feedback_that_was_deleted_is_asked_for_again(folder, unheard):
    said = run(unheard, "run", *TINY, code=2).stderr
    users = re.search(r"Delete (\S+/users-2-\w+), and they are asked again", said).group(1)
    shutil.rmtree(users)
    again = run_json(unheard, "run", *TINY)
    made = [each["stage"] for each in again if not each["reused"]]
    # Where the answers are the same (in another batch one may round otherwise), nothing else is.
    same = ratings(unheard) == ratings(folder)
    assert made == ["users-2"] if same else made[:2] == ["users-2", "ratings-2"]


def test_scripted_people_are_labelled_and_rate_over_http(folder, store):
    ratings = list(store[f"{NAME}/ratings-2"].corpus().records())
    assert {each.source for each in ratings} == {"scripted"}
    assert {each.kind for each in ratings} == {"rating", "edit"}
    listed = run_json(folder, "feedback", "list")
    assert len({each["request_id"] for each in listed}) == 300


def test_no_held_out_question_is_in_the_new_data(store):
    cases = rows(store[f"{NAME}/findings-2"], "cases.parquet")
    held_out = {each["prompt"] for each in cases if each["half"] == "held_out"}
    used = {each["prompt"] for each in cases if each["half"] == "used"}
    assert min(len(held_out), len(used)) > 100
    for new, all_of_version_2 in (
        ("requested-2", "requested-preferences-2"),
        ("conversations-2", "preferences-2"),
    ):
        prompts = {
            turn.content
            for each in store[f"{NAME}/{new}"].corpus().records()
            for turn in each.messages
        } | {
            turn.content
            for each in store[f"{NAME}/{all_of_version_2}"].corpus().records()
            for turn in (*each.prompt, *each.chosen, *each.rejected)
        }
        assert not prompts & held_out
        assert prompts & used, "the same search finds what was learnt from"


def test_every_new_record_names_its_finding_and_where_it_came_from(store):
    known = {f"finding:{each.id}" for each in load_findings(store[f"{NAME}/findings-2"].folder)}
    made = [
        each
        for name in ("requested-2", "requested-preferences-2")
        for each in store[f"{NAME}/{name}"].corpus().records()
    ]
    assert made
    for each in made:
        assert known & set(each.source_ids)
        assert len(each.source_ids) > 1


def test_alignment_is_reminded_of_what_the_former_version_met_unless_told_not_to(folder, store):
    preferences = store[f"{NAME}/preferences-2"]
    assert preferences.parents["former"]["name"] == f"{NAME}/aligned"
    assert "harmless_requests_not_met_before" in preferences.bill()
    plan = run_json(folder, "run", *TINY, "turn.safe_reminders=off", "--plan")
    assert next(each["stage"] for each in plan if not each["reuse"]) == "preferences-2"


def test_trace_leads_from_a_rating_to_the_model_and_its_gate_and_back(folder, store):
    edits = [
        each
        for each in store[f"{NAME}/requested-2"].corpus().records()
        if each.source_ids[0].startswith("feedback:")
    ]
    trained = rows(store[f"{NAME}/sft-2"], "seen.parquet")
    seen = {each["id"] for each in trained}
    event = next(each.source_ids[0] for each in edits if each.source_ids[0] in seen)
    roles = {each["name"].split("/")[1]: each["role"] for each in run_json(folder, "trace", event)}
    assert roles["ratings-2"] == roles["requested-2"] == "holds"
    assert roles["sft-2"] == "trained on"
    assert roles["aligned-2"] in {"trained on", "inherits"}
    assert "sft" not in roles
    assert roles["findings-2"] == "holds"
    assert roles["gate-2"] == "judges"
    record = next(each.id for each in edits if each.source_ids[0] == event)
    roles = {each["name"].split("/")[1]: each["role"] for each in run_json(folder, "trace", record)}
    assert (roles["sft-2"], roles["gate-2"]) == ("trained on", "judges")
    assert "ratings-2" not in roles, "the record is later than the rating"
    gate = run_json(folder, "trace", f"{NAME}/gate-2")
    below = {each["name"].split("/")[1] for each in gate["made_from"]}
    assert {"aligned-2", "aligned", "findings-2", "ratings-2", "requested-2"} <= below


def test_the_gate_names_each_test_and_the_alias_follows_its_verdict(folder, store):
    verdict = store[f"{NAME}/gate-2"].report().extra["verdict"]
    tests = {each["name"] for each in verdict["tests"]}
    assert {each for each in tests if "@" not in each} == {
        "held_out_half", "choice_pmi", "answers_end", "refusal_unsafe", "answered_safe",
        "bits_per_byte",
    }  # fmt: skip
    standing = store.find("@production")
    expected = "released-2" if verdict["promote"] else "released"
    assert standing.name == f"{NAME}/{expected}"
    assert verdict["reason"] in (folder / "printed").read_text()


def test_a_released_checkpoint_carries_its_card(store):
    released = store.find(f"{NAME}/released")
    card = (released.folder / "README.md").read_text()
    for words in ("## Evaluation", "## Gate", "PSF-2.0", "Toxicity", "email"):
        assert words in card
    assert "language:\n- en\n" in card
    weights = (store[f"{NAME}/aligned"].folder / "model.safetensors").read_bytes()
    assert (released.folder / "model.safetensors").read_bytes() == weights


def test_the_report_is_one_page_that_loads_nothing(folder, store):
    printed = (folder / "printed").read_text().split("Report: ")[1].strip()
    page = Path(printed).read_text()
    # A plot refers to its own parts, by "#".
    loads = r"""(?:src|href|action)\s*=\s*["'](?!#)|url\((?!#)|<script|@import"""
    assert re.findall(loads, page) == []
    for words in ("Scripted users (a program, no person)", "The gate", "PSF-2.0", "<svg"):
        assert words in page
    verdict = store[f"{NAME}/gate-2"].report().extra["verdict"]
    assert f"Version 2 was {'' if verdict['promote'] else 'not '}promoted." in page
    again = run_json(folder, "report", "tiny/python-docs")
    assert Path(again["report"]).read_text() == page
    assert again["gates"][0]["verdict"]["promote"] is verdict["promote"]


def test_the_settings_on_the_page_are_a_recipe_that_makes_nothing_anew(folder, store):
    from volano.study.found import find_stages
    from volano.study.report_origin import settings_of

    settings = settings_of(find_stages(store, NAME))
    (folder / "again.yaml").write_text(settings)
    stages = run_json(folder, "run", "again.yaml")
    assert all(each["reused"] for each in stages)
    assert "gate-2" in [each["stage"] for each in stages]


def test_a_report_of_a_first_version_alone_is_shorter_and_of_nothing_none(folder, store):
    from volano.study.found import Found, find_stages
    from volano.study.report import render

    found = find_stages(store, NAME)
    first = {name: each for name, each in found.stages.items() if not name.endswith("-2")}
    page = render(Found(store, NAME, first))
    assert "The gate" not in page
    assert "Every stage on held-out items" in page
    only = {"collected": found.stages["collected"]}
    assert "documents were collected" in render(Found(store, NAME, only))
    said = run(folder, "report", "tiny-python-dosc", code=2).stderr
    assert "Did you mean 'tiny-python-docs'?" in said


def test_what_people_and_models_write_is_escaped(store, monkeypatch):
    from volano.study import report_models
    from volano.study.found import find_stages
    from volano.study.report import render

    answer = {"text": "<img src=x>", "judged": ""}
    shown = {"prompt": "<script>alert(1)</script>", "kind": "", "wanted": ""}
    shown["answers"] = {"base": answer}
    monkeypatch.setattr(report_models, "prompts_of", lambda found: [shown])
    page = render(find_stages(store, NAME))
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page


def held_out_questions(findings):
    """The questions that were kept back, each with the answer that is wanted."""
    from volano.evaluate.half import held_out_cases

    cases = held_out_cases(rows(findings, "cases.parquet"), load_findings(findings.folder))
    return [
        Conversation(
            each["id"],
            (Message("user", each["prompt"]), Message("assistant", each["reference"])),
            "held out",
        )
        for each in cases
        if each["reference"] is not None
    ]


def other_version_2(folder, tmp_path, checkpoint):
    """The same store, in which version 2 came out as that checkpoint and is yet to be judged."""
    shutil.copytree(folder / "runs", tmp_path / "runs")
    made = Store(tmp_path / "runs")
    weights = "model.safetensors"
    shutil.copyfile(checkpoint.folder / weights, made[f"{NAME}/aligned-2"].folder / weights)
    for stage in ("report-2", "gate-2", "released-2"):
        for found in (tmp_path / "runs").glob(f"*/{NAME}/{stage}-*"):
            shutil.rmtree(found)
    return tmp_path


def test_a_version_like_the_former_is_refused_with_exit_3(folder, store, tmp_path):
    same = other_version_2(folder, tmp_path, store[f"{NAME}/aligned"])
    before = release_history(store, "production")
    refused = run(same, "turn", *TINY, "turn.release=candidate", code=3)
    assert "is not promoted: not better on the held-out half (+0.0 points" in refused.stderr
    assert "volano show" in refused.stderr
    verdict = Store(same / "runs")[f"{NAME}/gate-2"].report().extra["verdict"]
    assert not verdict["better"]
    assert verdict["lost"] == []
    assert verdict["requests"], "what the next turn needs"
    assert Store(same / "runs").find("@candidate").name == f"{NAME}/released"
    assert release_history(Store(same / "runs"), "production") == before
    shown = run(same, "show", f"{NAME}/gate-2").stdout
    assert "the next turn needs" in shown


def test_a_version_trained_on_shuffled_labels_is_refused_with_exit_3(folder, store, tmp_path):
    from volano.align.section import AlignSection
    from volano.align.step import ALIGN
    from volano.core.recipe import Section
    from volano.core.step import Step
    from volano.finetune.section import FinetuneSection
    from volano.finetune.step import FINETUNE

    class Nothing(Section):
        pass

    def shuffled_conversations(section, inputs, context):
        """Each question with the answer of another."""
        right = list(inputs["right"].corpus().records())
        order = np.random.default_rng(1).permutation(len(right))
        wrong = [
            replace(each, messages=(*each.messages[:-1], right[other].messages[-1]))
            for each, other in zip(right, order, strict=True)
        ]
        write_shard(shard_path(context.folder, "data", 0), table_of(wrong, Conversation))
        finish_corpus(context.folder, "conversation")

    def shuffled_pairs(section, inputs, context):
        """Each prompt with the answers of another, and a coin says which of the two is better."""
        right = list(inputs["right"].corpus().records())
        random = np.random.default_rng(1)
        order, swapped = random.permutation(len(right)), random.integers(2, size=len(right))
        wrong = []
        for each, other, swap in zip(right, order, swapped, strict=True):
            answers = (right[other].chosen, right[other].rejected)
            chosen, rejected = reversed(answers) if swap else answers
            wrong.append(replace(each, chosen=chosen, rejected=rejected))
        write_shard(shard_path(context.folder, "data", 0), table_of(wrong, Preference))
        finish_corpus(context.folder, "preference")

    def made(step, section, name, **inputs):
        return store.make(store.order(step, section, inputs, name=name), silent=True).artifact

    def like(stage, section):
        settings = store[f"{NAME}/{stage}"].meta["identity"]["settings"]
        return section.model_validate(settings)

    def shuffled(stage, function):
        step = Step(f"shuffled_{stage.replace('-', '_')}", "corpus", 1, Nothing, function)
        return made(step, Nothing(), f"shuffled/{stage}", right=store[f"{NAME}/{stage}"])

    sft = made(
        FINETUNE,
        like("sft-2", FinetuneSection),
        "shuffled/sft",
        conversations=shuffled("conversations-2", shuffled_conversations),
        base=store[f"{NAME}/sft"],
    )
    aligned = made(
        ALIGN,
        like("aligned-2", AlignSection),
        "shuffled/aligned",
        preferences=shuffled("preferences-2", shuffled_pairs),
        sft=sft,
    )
    wrong = other_version_2(folder, tmp_path, aligned)
    assert "is not promoted" in run(wrong, "turn", *TINY, "turn.release=candidate", code=3).stderr
    verdict = Store(wrong / "runs")[f"{NAME}/gate-2"].report().extra["verdict"]
    assert not verdict["better"]


def choice_questions(held_out):
    """The held-out functions that the four-way choice asks about, each with its true answer."""
    from volano.evaluate.choice import matched_items
    from volano.evaluate.held_out import askable

    items = matched_items(askable(held_out.corpus().records()), 1500)
    return [
        Conversation(
            f"choice:{function.id}",
            (
                Message("user", plain_question(function.qualified_name)),
                Message("assistant", answer_about(function)),
            ),
            "held out",
        )
        for function in (item.function for item in items)
    ]


@pytest.fixture(scope="module")
def knowing(folder):
    """A version that is truly better: it has learnt the held-out questions themselves, those of the
    four-way choice too, and what to decline once more."""
    from volano.core.recipe import Section
    from volano.core.step import Step
    from volano.finetune.section import FinetuneSection
    from volano.finetune.step import FINETUNE

    class Nothing(Section):
        pass

    def answers(section, inputs, context):
        known = held_out_questions(inputs["findings"])
        safety = inputs["safety"].corpus().records()
        known += [each for each in safety if each.split == "train"]
        known += choice_questions(inputs["held_out"])
        write_shard(shard_path(context.folder, "data", 0), table_of(known, Conversation))
        finish_corpus(context.folder, "conversation")

    store = Store(folder / "runs")
    inputs = {name: store[f"{NAME}/{name}"] for name in ("findings-2", "safety", "held_out")}
    inputs["findings"] = inputs.pop("findings-2")
    step = Step("known_answers", "corpus", 1, Nothing, answers)
    order = store.order(step, Nothing(), inputs, name="knowing/conversations")
    inputs = {"conversations": store.make(order, silent=True).artifact}
    inputs["base"] = store[f"{NAME}/aligned"]
    section = FinetuneSection(epochs=8.0)
    order = store.order(FINETUNE, section, inputs, name="knowing/sft")
    return store.make(order, silent=True).artifact


def test_a_better_version_is_promoted_and_one_that_was_taken_back_stays_back(
    folder, knowing, tmp_path
):
    folder = other_version_2(folder, tmp_path, knowing)
    store = Store(folder / "runs")
    # The first version is too small to be judged on all else; the next test does that.
    lenient = ["turn", *TINY, "turn.release=wheel", "gate.protects=[answers_end]"]
    assert "Promoted: version 2 is better on the held-out half" in run(folder, *lenient).stdout
    assert store.find("@wheel").name == f"{NAME}/released-2"
    run(folder, "rollback", "--alias", "wheel")
    assert store.find("@wheel").name == f"{NAME}/released"
    for verb in ("turn", "run"):
        again = run(folder, verb, *lenient[1:]).stdout
        assert "was version 2 once and was taken back: it stays" in again.replace("\n", " ")
        assert store.find("@wheel").name == f"{NAME}/released"
    run(folder, "promote", f"{NAME}/released-2", "--alias", "wheel")
    assert store.find("@wheel").name == f"{NAME}/released-2"


def test_the_gate_as_it_ships_promotes_what_is_better_and_has_lost_nothing(store, knowing):
    """The former is the better model, spoilt by answers that say one word over and over: what it
    was before is better at the questions kept back, and at all that is protected."""
    from volano.core.recipe import Section
    from volano.core.step import Step
    from volano.evaluate.section import EvaluateSection, GateSection
    from volano.evaluate.step import EVALUATE, GATE
    from volano.finetune.section import FinetuneSection
    from volano.finetune.step import FINETUNE

    class Nothing(Section):
        pass

    def made(step, section, name, **inputs):
        return store.make(store.order(step, section, inputs, name=name), silent=True).artifact

    def loops(section, inputs, context):
        said = Message("assistant", " ".join(["so"] * 60))
        known = held_out_questions(inputs["findings"])
        looping = [replace(each, messages=(each.messages[0], said)) for each in known]
        write_shard(shard_path(context.folder, "data", 0), table_of(looping, Conversation))
        finish_corpus(context.folder, "conversation")

    step = Step("loops", "corpus", 1, Nothing, loops)
    findings, good = store[f"{NAME}/findings-2"], knowing
    looping = made(step, Nothing(), "spoilt/conversations", findings=findings)
    section = FinetuneSection(epochs=2.0)
    spoilt = made(FINETUNE, section, "spoilt/sft", conversations=looping, base=good)
    section = EvaluateSection(
        tasks=["bits_per_byte", "held_out_functions", "safety"], safety_prompts=1000, seeds=0
    )
    held_out = {"held_out_functions": store[f"{NAME}/held_out"], "safety": store[f"{NAME}/safety"]}
    reports = {
        f"{name}_report": made(EVALUATE, section, f"spoilt/{name}", **held_out, aligned=model)
        for name, model in (("former", spoilt), ("candidate", good))
    }
    judged = {"findings": findings, "former": spoilt, "candidate": good, **reports}
    verdict = made(GATE, GateSection(), "spoilt/gate", **judged).report().extra["verdict"]
    assert verdict["promote"], verdict["reason"]
    protected = [each for each in verdict["tests"] if each["question"] == "nothing lost"]
    assert [each["name"] for each in protected] == GateSection().protects
    assert all(each["n"] >= 200 and each["passed"] for each in protected)
    # And the other way round it is refused, for all that is lost.
    former = {"former": good, "candidate": spoilt, "former_report": reports["candidate_report"]}
    judged |= former | {"candidate_report": reports["former_report"]}
    verdict = made(GATE, GateSection(), "spoilt/other", **judged).report().extra["verdict"]
    assert not verdict["promote"]
    assert not verdict["better"]
    assert {"answers_end", "refusal_unsafe", "bits_per_byte"} <= set(verdict["lost"])


def test_promote_and_rollback_move_the_alias_and_keep_its_history(folder, store):
    said = run(folder, "promote", f"{NAME}/aligned", "--alias", "staging", code=2).stderr
    assert f"no model card. Promote {NAME}/released, its released form, or" in said
    run(folder, "promote", f"{NAME}/released", "--alias", "staging")
    run(folder, "promote", f"{NAME}/aligned-2", "--alias", "staging", "--without-card")
    assert store.find("@staging").name == f"{NAME}/aligned-2"
    run(folder, "rollback", "--alias", "@staging")
    assert store.find("@staging").name == f"{NAME}/released"
    assert "nothing to go back to" in run(folder, "rollback", "--alias", "staging", code=2).stderr
    history = [each.action for each in release_history(store, "staging")]
    assert history == ["promote", "promote", "rollback"]


def test_personal_data_in_feedback_reaches_no_set(folder, store):
    # Last, since it makes new data. Planted in edits of somebody who agreed: one in a form of
    # question that is known to nobody, the others where the next version learns from them.
    standing = store[f"{NAME}/released"]
    # The one that may be held out says something else, or no other could be taught the same.
    asked = [("Which function writes to Jane?", "none", f"Ask {SECRET} for it.")]
    asked += [(*each, f"Write to {SECRET}, {CONTROL}.") for each in learnt_from(store)]
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"Hello, I am {SECRET}."},
                {"role": "assistant", "content": f"Hello {SECRET}!"},
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": answer},
            ],
            "model": store.path_of(standing),
            "id": f"planted-{place}",
            "helpful": 1,
            "harmless": 5,
            "edit": edit,
            "comment": f"Or so {SECRET} tells me.",
            "consent": "training",
            "source": "planted",
        }
        for place, (prompt, answer, edit) in enumerate(asked)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(folder, "feedback", "import", "log.jsonl")
    exported = run(folder, "feedback", "export").stdout
    assert CONTROL in exported
    assert SECRET not in exported
    run(folder, "turn", *TINY, "turn.release=planted", "gate.min_items=100k", code=3)
    decoded = {
        artifact.digest: str(artifact.to_arrow().to_pylist())
        for artifact in store.artifacts()
        if artifact.kind == "corpus"
    }
    assert not [text for text in decoded.values() if SECRET in text]
    trained_on = store[f"{NAME}/conversations-2"]
    for stage in ("ratings-2", "requested-2", "conversations-2"):
        assert CONTROL in decoded[store[f"{NAME}/{stage}"].digest], stage
    trained = detokenised(store[f"{NAME}/sft-2"], list(trained_on.corpus().records()))
    assert CONTROL in trained
    assert SECRET not in trained
    tokenizer = Tokenizer.load(store[f"{NAME}/tokenizer"].folder)
    for artifact in store.artifacts():
        if artifact.kind == "tokens":
            shards = TokenShards(artifact.folder)
            batch = shards.read(np.arange(shards.rows))
            assert SECRET not in tokenizer.decode(batch.tokens_BT.ravel().tolist())


def learnt_from(store):
    """Ten failures that are not held out, and what was answered."""
    cases = rows(store[f"{NAME}/findings-2"], "cases.parquet")
    learnt = {
        (each["prompt"], each["answer"])
        for each in cases
        if each["half"] == "used" and each["finding"] and each["wanted"]
    }
    return sorted(learnt, key=lambda pair: (not pair[0].startswith("Which"), pair))[:10]


def detokenised(checkpoint, conversations):
    """The rows that fine-tuning packs of the conversations, as text again."""
    from volano.finetune.sft import AnswerStream

    tokenizer = Tokenizer.load(checkpoint.folder)
    context = json.loads((checkpoint.folder / "config.json").read_text())["max_position_embeddings"]
    examples = [encode_conversation(tokenizer, each.messages) for each in conversations]
    places = fitting(examples, context=context, where="test").places
    stream = AnswerStream(
        [examples[place] for place in places],
        [conversations[place].source_ids for place in places],
        context=context,
        padding_id=tokenizer.end_of_text_id,
        batch_rows=1,
        epochs=1,
        seed=1,
    )
    return "\n".join(
        tokenizer.decode(stream.batch(step).tokens_BT.ravel().tolist())
        for step in range(stream.steps)
    )
