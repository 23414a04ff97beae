"""The trials of an ablation, made: those that are there first, the others spread over the cores.

With one trial at a time all happens in this process, with all threads; with several each has a
process (study/spread.py says which is faster). Results are the same but for the last bits, in which
sums of other thread counts differ.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from volano.core.artifact import Artifact
from volano.core.errors import VolanoError
from volano.core.progress import heard_by, progress
from volano.core.store import Store
from volano.study.ablation_progress import RATE_SECONDS, HeardTrials, Share, TrialsBar, bases
from volano.study.section import AblateSection
from volano.study.spread import choose
from volano.study.trial import BASE, Found, Trial, Tried, found_of, try_out
from volano.study.trial_workers import Call, Workers
from volano.train.interruption import Stopped

Data = Mapping[str, Mapping[str, Artifact]]  # of each arm, by the name and size of it
Told = Callable[[str], None]
TRIALS = "trials"  # what a bar counts where no base model is trained


def try_all(
    trials: Sequence[Trial],
    store: Store,
    asked: AblateSection,
    data: Data,
    *,
    silent: bool = False,
    told: Told = lambda line: None,
) -> list[Tried]:
    """Train and measure every trial, in whatever order; what became of each, in theirs.

    A trial that fails is told and takes no other with it. Raises Stopped on SIGTERM and
    KeyboardInterrupt on Ctrl-C, when the state of all that were running is kept.
    """
    found = [found_of(each, store, asked, _data_of(each, data)) for each in trials]
    left = [place for place, each in enumerate(found) if each.missing]
    shares = _shares(trials, found, store)
    total, unit = sum(bases(shares).values()), _unit(trials)
    with ExitStack() as ending:
        bar = ending.enter_context(
            progress("ablate", total, unit, silent=silent, rate_seconds=RATE_SECONDS)
        )
        of_all = TrialsBar(bar, [each.label for each in trials], shares, whole=unit == TRIALS)
        tried: dict[int, Tried] = {}
        alone = partial(_one, trials, store, asked, data, of_all, told)
        for place in range(len(trials)):
            if place not in left:
                tried[place] = alone(place)
        if left:
            arms = [trials[place].arm for place in left]
            chosen = choose(arms, len(left), _tokens_left(trials, shares, left), asked)
            ending.callback(chosen.close)
            if chosen.said():
                told(chosen.said())
            if chosen.spread.at_once == 1:
                tried |= {place: alone(place) for place in left}
            else:
                workers = chosen.workers or Workers(chosen.spread.at_once, chosen.spread.threads)
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
) -> Tried:
    trial = trials[place]
    of_all.begin(place)
    try:
        with heard_by(partial(of_all.bar_of, place)):
            return try_out(trial, store, asked, _data_of(trial, data))
    except Stopped:  # by a signal: all of it
        raise
    except VolanoError as problem:
        return _failed(trial, problem, told)
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
            tried[place] = ended.result._replace(trial=trials[place])
    return tried


def try_out_in_worker(
    trial: Trial, folder: Path, asked: AblateSection, data: Mapping[str, Artifact]
) -> Tried:
    """One trial, in a worker, which opens the store for itself."""
    return try_out(trial, Store(folder), asked, data)


def _failed(trial: Trial, problem: VolanoError, told: Told) -> Tried:
    told(f"{trial.label}: {problem}")
    return Tried(trial, None, {}, str(problem))


def _data_of(trial: Trial, data: Data) -> Mapping[str, Artifact]:
    return data[trial.arm.label]


def _unit(trials: Sequence[Trial]) -> str:
    if not trials[0].arm.trains_base:
        return TRIALS
    return "GFLOP" if len({each.arm.shape for each in trials}) > 1 else "tokens"


def _shares(trials: Sequence[Trial], found: Sequence[Found], store: Store) -> list[Share]:
    if _unit(trials) == TRIALS:
        return [
            Share(each.label, 1.0, float(not found[n].missing)) for n, each in enumerate(trials)
        ]
    in_flops = _unit(trials) == "GFLOP"
    shares = []
    for place, (trial, each) in enumerate(zip(trials, found, strict=True)):
        weight = trial.arm.flops_a_token / 1e9 if in_flops else 1.0
        whole = trial.arm.tokens * weight
        key = each.base.fingerprint if each.base is not None else f"trial {place}"
        done = 1.0 if BASE in each.present else _share_done(trial, each, store)
        shares.append(Share(key, whole, whole * done, weight))
    return shares


def _share_done(trial: Trial, found: Found, store: Store) -> float:
    """Of the training of a base model that was stopped."""
    if found.base is None:
        return 0.0
    from volano.train.checkpoint import kept_states

    steps = kept_states(store.building(found.base) / "scratch")
    return min(1.0, max(steps) / trial.arm.steps) if steps else 0.0


def _tokens_left(trials: Sequence[Trial], shares: Sequence[Share], left: Sequence[int]) -> float:
    """Of the most costly shape, as many FLOPs as are left to train."""
    of_base = {shares[place].base: shares[place] for place in left}
    weights = {shares[place].units_a_token for place in left}
    return sum(each.whole - each.done for each in of_base.values()) / max(weights)
