"""Answers to requests that come and go, generated together: continuous batching in slots.

One thread owns the model. Whoever asks is given a ticket; its tokens come to a function of the
asker's as they are made. A request enters as soon as a slot is free and leaves as soon as it ends,
whatever the others do, and its tokens are those that `generate` gives to the same prompt alone
(greedy, or sampled with the same seed). A failing step fails the requests in it, and no others.

Shapes: B rows of a step, T tokens of the longest new prompt, V vocabulary.

Source: Yu et al. 2022 (Orca), iteration-level scheduling.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from volano.core.errors import DataError, VolanoError
from volano.model.decoder import Decoder
from volano.model.generate import check_prompt, choose
from volano.model.slot_cache import SlotCache


class Full(VolanoError):
    """As many requests wait as may."""


class Token(NamedTuple):
    """One token of an answer. Log-probabilities in nats, None unless asked for; `top` likeliest
    first."""

    id: int
    log_prob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Ending(NamedTuple):
    """Why no more tokens come: a stop id, the limit, the asker, or an error."""

    reason: str  # "stop", "length", "cancelled" or "failed"
    error: str = ""


@dataclass(eq=False)
class Ticket:
    """A request in the engine. Its functions run in the engine's thread, and must be quick."""

    prompt: list[int]
    limit: int
    temperature: float
    top_p: float
    stop_ids: frozenset[int]
    top_log_probs: int | None
    on_token: Callable[[Token], None]
    on_end: Callable[[Ending], None]
    draws: npt.NDArray[Any]
    made: int = 0
    last: int = 0
    cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Give the slot back at the next step; `on_end` is called with "cancelled"."""
        self.cancelled.set()


class SlotEngine:
    """A model that answers up to `slots` requests at a time, and lets `waiting` more wait."""

    def __init__(self, model: Decoder, *, slots: int = 8, waiting: int = 256) -> None:
        self.model = model
        self._slots, self._most_waiting = slots, waiting
        self._waiting: deque[Ticket] = deque()
        self._busy: list[Ticket] = []  # in the order of the cache's rows
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="slot engine", daemon=True)
        self._thread.start()

    def submit(
        self,
        prompt: Sequence[int],
        *,
        max_new_tokens: int,
        on_token: Callable[[Token], None],
        on_end: Callable[[Ending], None],
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        stop_ids: Collection[int] = (),
        top_log_probs: int | None = None,
    ) -> Ticket:
        """Ask. Raises DataError for a prompt that is empty or fills the context, Full where as many
        wait as may."""
        room = self.model.config.context - check_prompt(self.model, prompt, 0)
        limit = min(max_new_tokens, room)
        draws = np.random.default_rng([seed, 0]).random(limit if temperature else 0)
        ticket = Ticket(
            list(prompt),
            limit,
            temperature,
            top_p,
            frozenset(stop_ids),
            top_log_probs,
            on_token,
            on_end,
            draws,
        )
        with self._changed:
            if self._closed:
                raise DataError("closed", "engine", "Start the server again.")
            if len(self._waiting) >= self._most_waiting:
                self._forget_cancelled()
            if len(self._waiting) >= self._most_waiting:
                raise Full(f"{self._most_waiting} requests wait", "engine", "Try again soon.")
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    @property
    def load(self) -> tuple[int, int]:
        """Requests that are answered and that wait, now."""
        return len(self._busy), len(self._waiting)

    def close(self) -> None:
        """Cancel every request and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        with torch.inference_mode(), self.model.frozen():
            device = self.model.head_weight.device
            dtype = self.model.compute_dtype
            cache = SlotCache(self.model.config, self._slots, dtype, device)
            head_VD = self.model.head_weight.to(dtype)
            while True:
                new = self._next()
                if new is None:
                    break
                try:
                    self._drop_cancelled(cache)
                    if new:
                        self._prefill(new, cache, head_VD)
                    if self._busy:
                        self._decode(cache, head_VD)
                except Exception as failure:  # whatever it was, the next request deserves a try
                    self._fail([*self._busy, *(t for t in new if t not in self._busy)], failure)
                    cache.lengths.clear()
                    self._busy = []
        for ticket in [*self._busy, *self._waiting]:
            ticket.on_end(Ending("cancelled"))

    def _forget_cancelled(self) -> None:
        # Who hung up takes no place in the queue from somebody who waits.
        waiting: deque[Ticket] = deque()
        for ticket in self._waiting:
            if ticket.cancelled.is_set():
                ticket.on_end(Ending("cancelled"))
            else:
                waiting.append(ticket)
        self._waiting = waiting

    def _next(self) -> list[Ticket] | None:
        """Requests for the free slots; waits where there is nothing to do. None: closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting or self._busy)
            if self._closed:
                return None
            new: list[Ticket] = []
            while self._waiting and len(self._busy) + len(new) < self._slots:
                ticket = self._waiting.popleft()
                if ticket.cancelled.is_set():
                    ticket.on_end(Ending("cancelled"))
                elif ticket.limit < 1:
                    ticket.on_end(Ending("length"))
                else:
                    new.append(ticket)
            return new

    def _prefill(self, new: list[Ticket], cache: SlotCache, head_VD: Tensor) -> None:
        lengths = [len(ticket.prompt) for ticket in new]
        longest = max(lengths)
        padded = [[*ticket.prompt, *[0] * (longest - len(ticket.prompt))] for ticket in new]
        window = cache.fill(len(new))
        self._busy += new
        tokens_BT = torch.tensor(padded, device=head_VD.device)
        hidden_BTD = self.model.hidden(tokens_BT, cache=window)
        window.keep(lengths)
        last_B = torch.tensor(lengths, device=head_VD.device) - 1
        hidden_BD = hidden_BTD[torch.arange(len(new), device=head_VD.device), last_B]
        self._deliver(new, F.linear(hidden_BD, head_VD), cache)

    def _decode(self, cache: SlotCache, head_VD: Tensor) -> None:
        busy = list(self._busy)
        window = cache.step()
        tokens_B1 = torch.tensor([ticket.last for ticket in busy], device=head_VD.device)[:, None]
        hidden_BD = self.model.hidden(tokens_B1, cache=window)[:, -1]
        window.keep([1] * len(busy))
        self._deliver(busy, F.linear(hidden_BD, head_VD), cache)

    def _deliver(self, tickets: list[Ticket], logits_BV: Tensor, cache: SlotCache) -> None:
        """Give each request its next token, and its slot back where that was the last."""
        chosen = choose_each(tickets, logits_BV)
        for row, (ticket, token) in enumerate(zip(tickets, chosen, strict=True)):
            if token in ticket.stop_ids:
                self._end(ticket, Ending("stop"), cache)
                continue
            ticket.last = token
            ticket.made += 1
            ticket.on_token(_described(ticket, token, logits_BV[row]))
            if ticket.made >= ticket.limit:
                self._end(ticket, Ending("length"), cache)

    def _drop_cancelled(self, cache: SlotCache) -> None:
        for ticket in [each for each in self._busy if each.cancelled.is_set()]:
            self._end(ticket, Ending("cancelled"), cache)

    def _end(self, ticket: Ticket, ending: Ending, cache: SlotCache) -> None:
        row = next(place for place, each in enumerate(self._busy) if each is ticket)
        last = cache.free(row)
        self._busy[row] = self._busy[last]
        self._busy.pop()
        ticket.on_end(ending)

    def _fail(self, tickets: Sequence[Ticket], failure: Exception) -> None:
        for ticket in tickets:
            ticket.on_end(Ending("failed", f"{type(failure).__name__}: {failure}"))


def choose_each(tickets: Sequence[Ticket], logits_BV: Tensor) -> list[int]:
    """One token per row, each by its own temperature, top_p and draws."""
    groups: dict[tuple[float, float], list[int]] = {}
    for row, ticket in enumerate(tickets):
        groups.setdefault((ticket.temperature, ticket.top_p), []).append(row)
    chosen = [0] * len(tickets)
    for (temperature, top_p), rows in groups.items():
        draws = [tickets[row].draws[tickets[row].made] if temperature else 0.0 for row in rows]
        picked = choose(logits_BV[rows], temperature, top_p, np.array(draws)).tolist()
        for row, token in zip(rows, picked, strict=True):
            chosen[row] = token
    return chosen


def _described(ticket: Ticket, token: int, logits_V: Tensor) -> Token:
    if ticket.top_log_probs is None:
        return Token(token)
    log_probs_V = logits_V.float().log_softmax(-1)
    values, ids = log_probs_V.topk(min(ticket.top_log_probs, len(log_probs_V)))
    top = tuple(zip(ids.tolist(), values.tolist(), strict=True))
    return Token(token, float(log_probs_V[token]), top)
