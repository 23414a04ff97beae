"""An ablation whose trials have processes of their own: chosen, stopped anywhere, and taken up."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from volano.core.engine import available_cores
from volano.core.errors import RecipeError
from volano.core.store import Store
from volano.study import spread as module
from volano.study.ablation import ablate, plan_ablation
from volano.study.ablation_pilot import train_pilot
from volano.study.ablation_plan import reckon
from volano.study.ablation_progress import HeardTrials, Share, TrialsBar, whole_of
from volano.study.axes import arms_of
from volano.study.room import Room
from volano.study.spread import Chosen, Spread, candidates, choose
from volano.study.trial_threads import said_of

pytest.importorskip("torch")
pytestmark = pytest.mark.xdist_group("ablation spread")
AXIS = "pretrain.learning_rate=0.01,0.02"


def arms(*settings):
    return arms_of("tiny/python-docs", [AXIS, *settings])


def test_cores_are_halved_and_halved_again_and_never_shared(monkeypatch):
    eight = arms("workers=8")
    asked = eight[0].recipe.ablate
    monkeypatch.setattr(module, "room_of", lambda recipe: Room("cpu", 10**12, "it", shared=True))
    assert candidates(eight, 20, asked) == [Spread(1, 8), Spread(2, 4), Spread(4, 2), Spread(8, 1)]
    assert candidates(eight, 3, asked) == [Spread(1, 8), Spread(2, 4), Spread(3, 2)]
    assert candidates(arms("workers=8", "pretrain.threads=3"), 9, asked) == [
        Spread(1, 3),
        Spread(2, 3),
    ]


def test_no_more_trials_at_once_than_memory_and_devices_hold(monkeypatch):
    eight = arms("workers=8")
    asked = eight[0].recipe.ablate
    room = Room("cpu", int(4.2 * module.PROCESS_BYTES), "it", shared=True)
    monkeypatch.setattr(module, "room_of", lambda recipe: room)
    assert candidates(eight, 20, asked)[-1] == Spread(3, 2)
    with pytest.raises(RecipeError, match="no more than 3 at once: each takes"):
        candidates(eight, 20, asked.model_copy(update={"at_once": 4}))
    monkeypatch.setattr(module, "room_of", lambda recipe: room._replace(device="cuda"))
    assert candidates(eight, 20, asked) == [Spread(1, 8)]


def test_threads_that_trials_have_leave_nothing_to_choose(monkeypatch):
    eight = arms("workers=8")
    asked = eight[0].recipe.ablate
    monkeypatch.setattr(module, "room_of", lambda recipe: Room("cpu", 10**12, "it", shared=True))
    assert candidates(eight, 20, asked, 2) == [Spread(4, 2)]
    assert candidates(eight, 3, asked, 2) == [Spread(3, 2)]
    assert candidates(eight, 20, asked, 16) == [Spread(1, 16)]
    alone = asked.model_copy(update={"at_once": 1})
    assert candidates(eight, 20, alone, 2) == [Spread(1, 2)]
    with pytest.raises(RecipeError, match="no more than 4 at once"):
        candidates(eight, 20, asked.model_copy(update={"at_once": 5}), 2)
    assert choose(eight, 20, 1e9, asked, threads=8).spread == Spread(1, 8)
    assert candidates(arms("workers=8", "pretrain.threads=3"), 9, asked, 2)[0] == Spread(2, 3)


def threads_of_models(store):
    return [each.bill()["threads"] for each in store.artifacts() if each.kind == "checkpoint"]


@pytest.mark.whole
def test_later_trials_have_the_threads_of_those_that_are_there(tmp_path, monkeypatch):
    """Of a first call or of a pilot; else arms and seeds would differ by that too."""
    write_recipe(tmp_path)
    monkeypatch.chdir(tmp_path)
    ablate(plan_ablation(arms_of("mine.yaml", [AXIS])), Store(tmp_path / "runs"), silent=True)
    more = [AXIS, "ablate.at_once=0", "ablate.seeds=3", "ablate.signal=on"]
    ablation = plan_ablation(arms_of("mine.yaml", more))
    assert reckon(ablation, Store(tmp_path / "runs"), silent=True).spread == Spread(2, 1)
    ablate(ablation, Store(tmp_path / "runs"), silent=True)
    assert threads_of_models(Store(tmp_path / "runs")) == [1] * 8


@pytest.mark.whole
def test_a_pilot_has_the_threads_of_the_whole(tmp_path, monkeypatch):
    write_recipe(tmp_path)
    monkeypatch.chdir(tmp_path)
    chosen_for = []

    def chosen(arms, trials, tokens, asked, *, threads=0):
        chosen_for.append((len({each.label for each in arms}), trials, tokens, threads))
        return Chosen(Spread(2, 1))

    monkeypatch.setattr("volano.study.ablation_run.choose", chosen)
    ablation = plan_ablation(arms_of("mine.yaml", [AXIS, "ablate.seeds=3", "ablate.at_once=0"]))
    store = Store(tmp_path / "runs")
    train_pilot(ablation, store, silent=True)
    whole = sum(each.arm.tokens for each in ablation.trials())
    assert chosen_for == [(2, 6, whole, 0)]
    ablate(ablation, store, silent=True)
    assert chosen_for[1][3] == 1
    assert threads_of_models(store) == [1] * 6


def test_a_metric_that_cannot_be_measured_takes_no_other_with_it(tmp_path, monkeypatch):
    write_recipe(tmp_path)
    monkeypatch.chdir(tmp_path)
    metrics = "ablate.metrics=[toxicity, bits_per_byte]"
    asked = [AXIS, metrics, "ablate.toxicity.prompt_tokens=900", "ablate.at_once=1"]
    told = []
    ablation = plan_ablation(arms_of("mine.yaml", asked))
    ablated = ablate(ablation, Store(tmp_path / "runs"), silent=True, told=told.append)
    report = ablated.report.report()
    assert {each["metric"] for each in report.comparisons} == {"bits_per_byte.text"}
    assert len(report.extra["failures"]) == 4
    assert all("longer than 900 tokens" in each["failure"] for each in report.extra["failures"])
    assert sum("longer than 900 tokens" in line for line in told) == 4


def test_leaks_are_refused_before_anything_is_trained_where_nothing_is_planted():
    with pytest.raises(RecipeError, match="no canaries are planted in"):
        plan_ablation(arms("ablate.metrics=[bits_per_byte, leaks]"))


def test_trials_of_several_numbers_of_threads_are_told():
    assert said_of(Counter()) == said_of(Counter({1: 9})) == ""
    assert "(3 of them with 1, 2 of them with 2)" in said_of(Counter({2: 2, 1: 3}))


def test_the_faster_way_is_taken_and_said(monkeypatch):
    two = arms("workers=2")
    asked = two[0].recipe.ablate
    monkeypatch.setattr(module, "rate_alone", lambda arm, spread: 1000.0)
    for together, best in ((1300.0, Spread(2, 1)), (900.0, Spread(1, 2))):
        monkeypatch.setattr(module, "rate_together", lambda *about, rate=together: rate)
        chosen = choose(two, 4, 1e6, asked)
        chosen.close()
        assert chosen.spread == best
    assert chosen.said() == (
        "One with 2 threads: 1.11× 2 trials at a time with 1 thread each "
        "(1,000 and 900 tokens a second)."
    )
    short = choose(two, 4, 1000.0 * 59, asked)  # less than processes are worth
    assert (short.spread, short.workers) == (Spread(1, 2), None)
    assert Chosen(Spread(1, 2)).said() == ""


class Told:
    def __init__(self):
        self.done = self.skipped = 0
        self.lines, self.figures = [], ()

    def advance(self, amount=1):
        self.done += amount

    def resume(self, amount):
        self.skipped += amount

    skip = resume

    def note(self, *figures):
        self.figures = figures

    def tell(self, text):
        self.lines.append(text)


def test_one_bar_counts_each_base_once_and_what_was_there_not_into_the_rate():
    bar = Told()
    shares = [Share("a", 100, 0), Share("b", 100, 40), Share("c", 100, 100), Share("a", 100, 0)]
    of_all = TrialsBar(bar, ["one", "two", "three", "four"], shares)
    assert bar.skipped == 140
    heard = HeardTrials(of_all, silent=False)
    for place in (0, 1):
        of_all.begin(place)
        heard(place, "open", ("pretrain", 100, "tokens"))
        heard(place, "tell", ("reads its text 9.0 times",))
    heard(1, "resume", (40,))
    heard(1, "advance", (20,))
    heard(0, "advance", (50,))
    assert (bar.done, bar.skipped) == (70, 140)
    assert bar.lines == ["reads its text 9.0 times"]
    assert bar.figures == ("0 of 4 trials", "one: pretrain 50%", "two: pretrain 60%")
    of_all.end(1)  # it failed
    assert (bar.done, bar.skipped) == (70, 180)
    heard(0, "advance", (50,))
    heard(0, "open", ("evaluate", 8, "parts"))
    heard(0, "advance", (4,))
    assert bar.figures == ("1 of 4 trials", "one: evaluate 50%")
    of_all.end(0)
    of_all.begin(3)
    of_all.end(3)
    assert (bar.done, bar.skipped) == (120, 180)


def test_what_is_behind_a_shared_base_moves_the_bar_too():
    bar = Told()
    of_base = [("a", False), ("a", False), ("b", True)]
    shares = [Share(key, 1, float(there), 0.01, 1, there) for key, there in of_base]
    assert whole_of(shares) == 5
    of_all = TrialsBar(bar, ["one", "two", "three"], shares)
    assert bar.skipped == 2
    of_all.begin(2)
    of_all.end(2)  # it was there
    heard = HeardTrials(of_all, silent=False)
    for place, tokens in [(0, 100), (1, 0)]:
        of_all.begin(place)
        heard(place, "open", ("pretrain", 100, "tokens"))
        heard(place, "advance", (tokens,))
        heard(place, "open", ("sft", 9, "tokens"))
        heard(place, "advance", (4,))
        assert bar.done == 1 + place
        of_all.end(place)
    assert (bar.done, bar.skipped) == (3, 2)


def write_recipe(folder, tokens="2k"):
    """A recipe whose data are there in no time."""
    texts = [f"The river {number} carries mountain water to the sea. " * 9 for number in range(40)]
    records = [{"id": str(place), "text": text} for place, text in enumerate(texts)]
    (folder / "texts.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in records))
    (folder / "mine.yaml").write_text(
        "name: mine\nworkers: 2\n"
        "collect: {source: files, paths: [texts.jsonl], held_out_fraction: 0.3}\n"
        "curate: {language: off, quality: off, dedup: off, decontaminate: off}\n"
        "tokenizer: {vocabulary: 300}\n"
        f"pretrain: {{model: {{parameters: 0.02M}}, tokens: {tokens}}}\n"
        "finetune: off\nalign: off\nevaluate: off\n"
        "ablate: {signal: off, at_once: 2, seeds: 2}\n"
    )


def begin(folder, store):
    return subprocess.Popen(
        [sys.executable, "-m", "volano", "ablate", "mine.yaml", AXIS, "--json", "--store", store],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kept_steps(folder):
    """Trial → steps after which its latest state was kept."""
    found = {}
    for state in folder.glob("runs/building/*base*/scratch/states/*/state.json"):
        if not state.parent.name.isdigit():  # it is being written
            continue
        trial = state.parents[3].name
        found[trial] = max(found.get(trial, 0), int(state.parent.name))
    return found


def in_session(number):
    """Living processes of the session that the command began."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == number and state != "Z":
            found.append(stat.parent.name)
    return found


def wait_until(true):
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(available_cores() < 2, reason="two at once need two cores")
@pytest.mark.parametrize(
    ("number", "kill"),
    [
        pytest.param(signal.SIGKILL, os.kill, marks=pytest.mark.whole),
        pytest.param(signal.SIGINT, os.killpg, marks=pytest.mark.long),
    ],
)
def test_killed_or_interrupted_it_goes_on_and_ends_as_if_it_never_was(
    tmp_path, monkeypatch, number, kill
):
    write_recipe(tmp_path, tokens="20k, batch_rows: 1, checkpoint_steps: 9")
    process = begin(tmp_path, "runs")
    wait_until(lambda: len(kept_steps(tmp_path)) == 2)
    before = kept_steps(tmp_path)
    kill(process.pid, number)
    told = process.communicate(timeout=60)[1]
    wait_until(lambda: not in_session(process.pid))
    assert process.returncode == (130 if number == signal.SIGINT else -9), told
    assert "Traceback" not in told
    after = kept_steps(tmp_path)
    assert all(after[trial] >= steps for trial, steps in before.items())
    recipe = tmp_path / "mine.yaml"
    # Whatever would be chosen now: what was begun with a thread each goes on with one.
    recipe.write_text(recipe.read_text().replace("at_once: 2", "at_once: 0"))
    process = begin(tmp_path, "runs")
    resumed = json.loads(process.communicate(timeout=300)[0])
    models = [each for each in Store(tmp_path / "runs").artifacts() if each.kind == "checkpoint"]
    assert sum("resumed_tokens" in each.bill() for each in models) == 2  # else they began anew
    wait_until(lambda: not in_session(process.pid))
    monkeypatch.chdir(tmp_path)  # in one process, of as many threads as each of the two had
    alone = plan_ablation(arms_of("mine.yaml", [AXIS, "workers=1", "ablate.at_once=1"]))
    undisturbed = ablate(alone, Store(tmp_path / "undisturbed"), silent=True)
    assert resumed["values"] == undisturbed.report.report().extra["values"]


def test_an_arm_that_would_diverge_is_timed_as_any_other():
    rates = ["pretrain.learning_rate=1e30,0.008", "pretrain.matrix_learning_rate=1e30"]
    wild, calm = arms_of("tiny/python-docs", ["pretrain.model.parameters=0.02M", *rates])
    for each in (wild, calm):
        assert module.rate_alone(each, Spread(1, 1)) > 0
    assert wild.section.learning_rate == 1e30  # which the trial has
