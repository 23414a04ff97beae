"""How the loss of each arm fell: a line for the mean of its seeds, a band for all of them."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from volano.page import plots
from volano.study.ablation_found import FoundAblation, FoundTrial

HELD_OUT, TRAINED, LOSS = "held_out_bits_per_byte", "bits_per_byte", "loss"
FEWEST_POINTS = 2  # one makes no curve
UNITS = {HELD_OUT: "bits per byte", TRAINED: "bits per byte", LOSS: "nats per token"}
TITLES = {HELD_OUT: "Held-out text", TRAINED: "Text trained on", LOSS: "Text trained on"}
BAND = "Line: mean of the seeds; band: from the least to the greatest."
SAID = {
    HELD_OUT: f"{BAND} Every model is measured on the same documents.",
    TRAINED: f"{BAND} Each arm on its own text, so a lower line is not a better arm.",
    LOSS: f"{BAND} Each arm on its own text and tokens, so a lower line is not a better arm.",
}

APART = f"{BAND} Not every model is measured on the same documents."


def curves_of(found: FoundAblation) -> list[dict[str, str]]:
    """A plot for each size and text: tokens read against bits per byte."""
    plotted = []
    for size in found.sizes:
        trials = {arm: found.of(arm, size) for arm in found.arms}
        for column in _columns(each for those in trials.values() for each in those):
            series = {
                found.letter(arm): band
                for arm, those in trials.items()
                if (band := _band(those, column)) is not None
            }
            if series:
                title = f"{TITLES[column]}, {size}" if size else TITLES[column]
                plot = plots.bands(series, title=title, x="tokens read", y=UNITS[column])
                several = column == HELD_OUT and len(_measured_on(trials.values())) > 1
                said = APART if several else SAID[column]
                plotted.append({"title": title, "plot": plot, "said": said})
    return plotted


def _measured_on(arms: Iterable[Sequence[FoundTrial]]) -> set[tuple[str, Any]]:
    """What held-out documents models were measured on in training, and how many of them."""
    models = [each.base for trials in arms for each in trials if each.base is not None]
    return {
        (
            each.parents.get("held_out", {}).get("digest", ""),
            each.meta["identity"]["settings"].get("evaluate_documents"),
        )
        for each in models
    }


def _columns(trials: Iterable[FoundTrial]) -> Sequence[str]:
    # Bits per byte do not depend on the tokenizer, as the loss per token does.
    tables = [each.training for each in trials if each.training is not None]
    if all(TRAINED in each.column_names for each in tables):
        return (HELD_OUT, TRAINED)
    return (HELD_OUT, LOSS)


def _band(trials: Sequence[FoundTrial], column: str) -> plots.Band | None:
    """The curves of an arm's seeds over the steps that all of them have."""
    curves = [points for each in trials if len(points := _points(each, column)) >= FEWEST_POINTS]
    if not curves:
        return None
    common = sorted(set.intersection(*(set(each) for each in curves)))
    if len(common) < FEWEST_POINTS:
        return None
    return plots.Band(common, [[each[x] for x in common] for each in curves])


def _points(trial: FoundTrial, column: str) -> dict[int, float]:
    """Tokens read → value, where there is one."""
    table = trial.training
    if table is None or not {"tokens", column} <= set(table.column_names):
        return {}
    read = accumulate(table["tokens"].to_pylist())
    pairs = zip(read, table[column].to_pylist(), strict=True)
    return {tokens: value for tokens, value in pairs if value is not None}
