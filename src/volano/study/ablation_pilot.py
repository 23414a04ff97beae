"""Two seeds of an ablation's first arm, trained before the others: how far do seeds lie apart?

They are trials as any other, and the ablation takes them over. A plan made after them says which
difference so many seeds can show.
"""

from collections.abc import Callable
from dataclasses import replace

from volano.core.store import Store
from volano.study.ablation import LEAST_SEEDS, Ablation
from volano.study.ablation_run import try_all
from volano.study.trial import Tried, data_of


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
