"""What the gate makes of versions that are like the former, worse, better or spoilt."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from two_turns import NAME, TINY, held_out_questions, other_version_2, run

from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.records import Conversation, Message, Preference, table_of
from volano.core.release import release_history
from volano.core.store import Store
from volano.text.functions import answer_about, plain_question

pytest.importorskip("torch")
pytest.importorskip("fastapi")
pytestmark = pytest.mark.xdist_group("two turns")


@pytest.fixture
def store(folder):
    return Store(folder / "runs")


def test_a_version_like_the_former_is_refused_with_exit_3(folder, store, tmp_path):
    same = other_version_2(folder, tmp_path, store[f"{NAME}/aligned"])
    before = release_history(store, "production")
    refused = run(same, "turn", TINY, "turn.release=candidate", code=3)
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


@pytest.mark.whole
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
    assert "is not promoted" in run(wrong, "turn", TINY, "turn.release=candidate", code=3).stderr
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


@pytest.mark.whole
def test_a_better_version_is_promoted_and_one_that_was_taken_back_stays_back(
    folder, knowing, tmp_path
):
    folder = other_version_2(folder, tmp_path, knowing)
    store = Store(folder / "runs")
    # The first version is too small to be judged on all else; the next test does that.
    lenient = ["turn", TINY, "turn.release=wheel", "gate.protects=[answers_end]"]
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


@pytest.mark.whole
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


def test_promote_and_rollback_move_the_alias_and_keep_its_history(folder, tmp_path):
    shutil.copytree(folder / "runs", tmp_path / "runs")  # the page tells of every alias
    folder, store = tmp_path, Store(tmp_path / "runs")
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
