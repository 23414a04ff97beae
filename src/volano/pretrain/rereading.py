"""How often a run reads its text over, and from where on that is told.

Text read again teaches less each time. A run over few texts does it without a word, and its loss on
what it trains on falls all the same.
"""

from collections.abc import Mapping
from typing import Any

from volano.text.curriculum import ANNEAL

MOST_EPOCHS = 4.0  # repeated text is nearly as good as new: Muennighoff et al. 2023
BILLED = "epochs."
PARTS = ("run.", "stage ", f"{ANNEAL}.")  # of a curriculum, billed beside the whole


def epochs_in(bill: Mapping[str, Any]) -> dict[str, float]:
    """Kind → how often a run read it over, as the bill of a base model has them."""
    named = {key.removeprefix(BILLED): bill[key] for key in bill if key.startswith(BILLED)}
    return {kind: float(each) for kind, each in named.items() if not kind.startswith(PARTS)}


def rereading_note(epochs: Mapping[str, float]) -> str | None:
    """One line where text of some kind is read more than four times over."""
    often = {kind: each for kind, each in epochs.items() if each > MOST_EPOCHS}
    if not often:
        return None
    most = max(often, key=lambda kind: often[kind])
    of_kind = f" of '{most}'" if len(epochs) > 1 else ""
    return (
        f"reads its text{of_kind} {often[most]:.1f} times: give more text, or fewer "
        f"pretrain.tokens (text is nearly as good as new up to {MOST_EPOCHS:g} times)"
    )
