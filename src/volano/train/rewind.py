"""Weights kept in memory, to go back to when a step has spoilt them.

Two states are kept, `every` steps apart. A spike may show a few steps after what caused it, so
where a return to the younger state has not helped, the next one goes to the older. Both are in the
state kept for resuming: a resumed run goes back to the same weights.
"""

from copy import deepcopy
from typing import Any

from volano.model.decoder import Decoder
from volano.train.checkpoint import learning_state, take_up
from volano.train.optimiser import Optimiser

KEPT = 2


class Rewinder:
    """Keeps states of a model and its optimiser, and takes both back."""

    def __init__(self, model: Decoder, optimiser: Optimiser, *, every: int) -> None:
        self._model, self._optimiser, self.every = model, optimiser, every
        self.states: list[dict[str, Any]] = []  # oldest first

    def keep_if_due(self, done: int) -> None:
        """Keep the state after so many steps where they are a multiple of `every`."""
        if done % self.every == 0 and not any(each["step"] == done for each in self.states):
            state = {
                "step": done,
                "weights": deepcopy(learning_state(self._model)),
                "optimiser": deepcopy(self._optimiser.state_dict()),
                "returned_to": False,
            }
            self.states = [*self.states, state][-KEPT:]

    def go_back(self) -> int:
        """Take weights and optimiser back; to which step."""
        if self.states[-1]["returned_to"] and len(self.states) > 1:
            self.states = self.states[:-1]
        state = self.states[-1]
        state["returned_to"] = True
        take_up(self._model, state["weights"])
        # AdamW takes the tensors that it is given and writes into them.
        self._optimiser.load_state_dict(deepcopy(state["optimiser"]))
        self._optimiser.clear()
        return int(state["step"])
