"""The trials of an ablation, made: those that are there first, the others spread over the cores.

With one trial at a time all happens in this process, with all threads; with several each has a
process (study/spread.py says which is faster). All trials have the same number of threads, those of
an earlier call too (study/trial_threads.py).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from volano.core.artifact import Artifact
from volano.core.errors import VolanoError
from volano.core.progress import heard_by, progress
from volano.core.store import Store
from volano.study.ablation_progress import (
    RATE_SECONDS,
    HeardTrials,
    Share,
    TrialsBar,
    whole_of,
)
from volano.study.section import AblateSection
from volano.study.spread import choose
from volano.study.trial import BASE, Found, Trial, Tried, found_of, try_out
from volano.study.trial_threads import said_of, threads_there, usual
from volano.study.trial_workers import Call, Workers
from volano.train.interruption import Stopped

Data = Mapping[str, Mapping[str, Artifact]]  # of each arm, by the name and size of it
Told = Callable[[str], None]
PARTS = "parts"  # what a bar counts where base models are shared, or none is trained


def try_all(
    trials: Sequence[Trial],
    store: Store,
    asked: AblateSection,
    data: Data,
    *,
    silent: bool = False,
    told: Told = lambda line: None,
    whole: Sequence[Trial] = (),
) -> list[Tried]:
    """Train and measure every trial, in whatever order; what became of each, in theirs. Where they
    are a part of what is to be compared, threads are chosen for the `whole`.

    A trial that fails is told and takes no other with it. Raises Stopped on SIGTERM and
    KeyboardInterrupt on Ctrl-C, when the state of all that were running is kept.
    """
    found = [found_of(each, store, asked, _data_of(each, data)) for each in trials]
    left = [place for place, each in enumerate(found) if each.missing]
    unit = _unit(trials, found)
    shares = _shares(trials, found, store, unit)
    with ExitStack() as ending:
        bar = ending.enter_context(
            progress(
                "ablate",
                whole_of(shares),
                unit,
                silent=silent or not left,
                rate_seconds=RATE_SECONDS,
            )
        )
        of_all = TrialsBar(bar, [each.label for each in trials], shares)
        tried: dict[int, Tried] = {}
        alone = partial(_one, trials, store, asked, data, of_all, told)
        for place in range(len(trials)):
            if place not in left:
                tried[place] = alone(place, 0)
        if left:
            there = threads_there(found, store)
            arms = [each.arm for each in whole] or [trials[place].arm for place in left]
            tokens = _tokens_of(whole) or _tokens_left(trials, shares, left)
            count = max(len(whole), len(left))
            chosen = choose(arms, count, tokens, asked, threads=usual(there))
            ending.callback(chosen.close)
            for line in filter(None, [said_of(there), chosen.said()]):
                told(line)
            at_once, threads = min(chosen.spread.at_once, len(left)), chosen.spread.threads
            if at_once == 1:
                tried |= {place: alone(place, threads) for place in left}
            else:
                workers = chosen.workers or Workers(at_once, threads)
                ending.callback(workers.close)
                heard = HeardTrials(of_all, silent=silent)
                tried |= _together(trials, left, shares, store, asked, data, workers, heard, told)
    return [tried[place] for place in range(len(trials))]


def _one(
    trials: Sequence[Trial],
    store: Store,
    asked: AblateSection,
    data: Data,
    of_all: TrialsBar,
    told: Told,
    place: int,
    threads: int,
) -> Tried:
    trial = trials[place]
    trial = trial._replace(recipe=trial.recipe.model_copy(update={"workers": threads}))
    of_all.begin(place)
    try:
        with heard_by(partial(of_all.bar_of, place)):
            tried = try_out(trial, store, asked, _data_of(trial, data))
            return _told(tried._replace(trial=trials[place]), told)
    except Stopped:  # by a signal: all of it
        raise
    except VolanoError as problem:
        return _failed(trials[place], problem, told)
    finally:
        of_all.end(place)


def _together(
    trials: Sequence[Trial],
    left: Sequence[int],
    shares: Sequence[Share],
    store: Store,
    asked: AblateSection,
    data: Data,
    workers: Workers,
    heard: HeardTrials,
    told: Told,
) -> dict[int, Tried]:
    calls = []
    for place in left:
        trial = trials[place]
        recipe = trial.recipe.model_copy(update={"workers": workers.threads})
        about = (trial._replace(recipe=recipe), store.folder, asked, _data_of(trial, data))
        calls.append(Call(try_out_in_worker, about, trial.label, alone=shares[place].base))
    tried = {}
    for ended in workers.do(
        calls,
        lambda number, what, about: heard(left[number], what, about),
        begun=lambda number: heard.bar.begin(left[number]),
    ):
        place = left[ended.place]
        heard.bar.end(place)
        if ended.problem is not None:
            tried[place] = _failed(trials[place], ended.problem, told)
        else:
            tried[place] = _told(ended.result._replace(trial=trials[place]), told)
    return tried


def try_out_in_worker(
    trial: Trial, folder: Path, asked: AblateSection, data: Mapping[str, Artifact]
) -> Tried:
    """One trial, in a worker, which opens the store for itself."""
    return try_out(trial, Store(folder), asked, data)


def _told(tried: Tried, told: Told) -> Tried:
    if tried.failure:
        told(f"{tried.trial.label}: {tried.failure}")
    return tried


def _failed(trial: Trial, problem: VolanoError, told: Told) -> Tried:
    told(f"{trial.label}: {problem}")
    return Tried(trial, None, {}, str(problem))


def _data_of(trial: Trial, data: Data) -> Mapping[str, Artifact]:
    return data[trial.arm.label]


def _base_keys(trials: Sequence[Trial], found: Sequence[Found]) -> list[str]:
    """Of the base model of each, which several may share."""
    bases = [each.base for each in found]
    return [f"trial {n}" if base is None else base.fingerprint for n, base in enumerate(bases)]


def _unit(trials: Sequence[Trial], found: Sequence[Found]) -> str:
    if not trials[0].arm.trains_base or len(set(_base_keys(trials, found))) < len(trials):
        return PARTS
    return "GFLOP" if len({each.arm.shape for each in trials}) > 1 else "tokens"


def _shares(
    trials: Sequence[Trial], found: Sequence[Found], store: Store, unit: str
) -> list[Share]:
    shares = []
    for trial, each, key in zip(trials, found, _base_keys(trials, found), strict=True):
        weight = {"GFLOP": trial.arm.flops_a_token / 1e9}.get(unit, 1.0)
        if unit == PARTS:
            weight = 1 / trial.arm.tokens if trial.arm.trains_base else 0.0
        whole = trial.arm.tokens * weight
        done = 1.0 if BASE in each.present else _share_done(trial, each, store)
        ending = float(unit == PARTS)
        shares.append(Share(key, whole, whole * done, weight, ending, not each.missing))
    return shares


def _share_done(trial: Trial, found: Found, store: Store) -> float:
    """Of the training of a base model that was stopped."""
    if found.base is None or not trial.arm.trains_base:
        return 0.0
    from volano.train.checkpoint import kept_states

    steps = kept_states(store.building(found.base) / "scratch")
    return min(1.0, max(steps) / trial.arm.steps) if steps else 0.0


def _tokens_of(trials: Sequence[Trial]) -> float:
    """Of the most costly shape, as many FLOPs as all of them train."""
    arms = [each.arm for each in trials if each.arm.trains_base]
    most = max((each.flops_a_token for each in arms), default=1.0)
    return sum(each.tokens * each.flops_a_token for each in arms) / most


def _tokens_left(trials: Sequence[Trial], shares: Sequence[Share], left: Sequence[int]) -> float:
    """Of the most costly shape, as many FLOPs as are left to train."""
    of_base = {shares[place].base: place for place in left if trials[place].arm.trains_base}
    flops, most = 0.0, 1.0
    for place in of_base.values():
        share, each = shares[place], trials[place].arm.flops_a_token
        flops += (share.whole - share.done) / share.units_a_token * each
        most = max(most, each)
    return flops / most
