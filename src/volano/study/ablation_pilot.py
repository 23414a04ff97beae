"""What is made of an ablation before it is planned: its arms' data, or two seeds of the first arm.

Two seeds tell how far seeds lie apart. They are trials as any other, and the ablation takes them
over. A plan made after them says which difference so many seeds can show.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from volano.core.errors import VolanoError
from volano.core.store import Store
from volano.study.ablation import LEAST_SEEDS, Ablation
from volano.study.ablation_run import try_all
from volano.study.trial import Tried, data_of


def make_data(ablation: Ablation, store: Store, *, silent: bool = False) -> float:
    """Make what each arm trains on; the seconds that it took. An arm that has none is told of by
    the ablation itself."""
    begun = time.monotonic()
    for arm in ablation.arms:
        with suppress(VolanoError):
            data_of(ablation.trials([arm])[0], store, ablation.asked, silent)
    return time.monotonic() - begun


def train_pilot(
    ablation: Ablation,
    store: Store,
    *,
    silent: bool = False,
    told: Callable[[str], None] = lambda line: None,
) -> list[Tried]:
    """Train and measure two seeds of the first arm. Raises VolanoError where its data cannot be
    made; a trial that fails is told."""
    arm = ablation.arms[0]
    trials = replace(ablation, seeds=ablation.seeds[:LEAST_SEEDS]).trials([arm])
    data = data_of(trials[0], store, ablation.asked, silent)
    whole = [*ablation.trials(), *ablation.signal_trials()]
    of_arm = {arm.label: data}
    return try_all(trials, store, ablation.asked, of_arm, silent=silent, told=told, whole=whole)
