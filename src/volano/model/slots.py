"""Answers to requests that come and go, generated together: continuous batching in slots.

Whoever asks is given a ticket; its tokens come to a function of the asker's as they are made. A
request enters as soon as a slot is free and leaves as soon as it ends,
whatever the others do, and its tokens are those that `generate` gives to the same prompt alone
(greedy, or sampled with the same seed). A failing step fails the requests in it, and no others.

One thread loads the model and runs every step, and several engines may share it. It must be one:
as soon as two threads of a process have computed in parallel, OpenMP counts more threads than
cores, lets them sleep between loops, and each step takes 2.7 times as long (docs/log.md).

Shapes: B rows of a step, T tokens of the longest new prompt, V vocabulary.

Source: Yu et al. 2022 (Orca), iteration-level scheduling.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
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

MOST_CONTEXT = 2048  # of a slot where none is asked for; all of a slot's memory is taken at once


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
    """A model that answers up to `slots` requests at a time, and lets `waiting` more wait.

    `load` gives the model; it is called in the thread of `compute`, an executor of one thread,
    which is the engine's own where none is given. What it raises is raised here. Each slot holds
    `context` tokens, prompt and answer; 0: as many as the model reads, at most MOST_CONTEXT. Raises
    DataError where the model reads fewer than are asked for.
    """

    def __init__(
        self,
        load: Callable[[], Decoder],
        *,
        slots: int = 8,
        waiting: int = 256,
        context: int = 0,
        compute: Executor | None = None,
    ) -> None:
        self._asked_context = context
        self._slots, self._most_waiting = slots, waiting
        self._waiting: deque[Ticket] = deque()
        self._busy: list[Ticket] = []  # in the order of the cache's rows
        self._lock = threading.Lock()  # over what is waiting, and the two flags
        self._closed = self._turning = False
        self._own = ExitStack()
        self._compute = compute or self._own.enter_context(ThreadPoolExecutor(1, "slot engine"))
        try:
            self.model, self._cache, self._head_VD = self._compute.submit(self._open, load).result()
        except BaseException:
            self._own.close()
            raise

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
        room = self.context - check_prompt(self.context, prompt)
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
        with self._lock:
            if self._closed:
                raise DataError("closed", "engine", "Start the server again.")
            if len(self._waiting) >= self._most_waiting:
                self._forget_cancelled()
            if len(self._waiting) >= self._most_waiting:
                raise Full(f"{self._most_waiting} requests wait", "engine", "Try again soon.")
            self._waiting.append(ticket)
            if not self._turning:
                self._turning = True
                self._compute.submit(self._turn)
        return ticket

    @property
    def context(self) -> int:
        """Tokens of a prompt and its answer together."""
        return self._cache.context

    @property
    def load(self) -> tuple[int, int]:
        """Requests that are answered and that wait, now."""
        return len(self._busy), len(self._waiting)

    def close(self) -> None:
        """Cancel every request, and end the thread if it is the engine's own."""
        with self._lock:
            already, self._closed = self._closed, True
        if not already:
            self._compute.submit(self._cancel_all).result()
            self._own.close()

    def _open(self, load: Callable[[], Decoder]) -> tuple[Decoder, SlotCache, Tensor]:
        model = load()
        with torch.inference_mode():
            model.freeze()
            device, dtype = model.head_weight.device, model.compute_dtype
            context = _context_of(model, self._asked_context)
            cache = SlotCache(model.config, self._slots, dtype, device, context=context)
            return model, cache, model.head_weight.to(dtype)

    def _cancel_all(self) -> None:
        for ticket in [*self._busy, *self._waiting]:
            ticket.on_end(Ending("cancelled"))

    def _turn(self) -> None:
        """One step, and the next behind those of the other engines, while there is work."""
        new = self._next()
        try:
            with torch.inference_mode():
                self._drop_cancelled()
                if new:
                    self._prefill(new)
                if self._busy:
                    self._decode()
        except Exception as failure:  # whatever it was, the next request deserves a try
            self._fail([*self._busy, *(t for t in new if t not in self._busy)], failure)
            self._cache.lengths.clear()
            self._busy = []
        with self._lock:
            self._turning = not self._closed and bool(self._busy or self._waiting)
            if self._turning:
                self._compute.submit(self._turn)

    def _forget_cancelled(self) -> None:
        # Who hung up takes no place in the queue from somebody who waits.
        waiting: deque[Ticket] = deque()
        for ticket in self._waiting:
            if ticket.cancelled.is_set():
                ticket.on_end(Ending("cancelled"))
            else:
                waiting.append(ticket)
        self._waiting = waiting

    def _next(self) -> list[Ticket]:
        """Requests for the free slots."""
        new: list[Ticket] = []
        with self._lock:
            while self._waiting and len(self._busy) + len(new) < self._slots:
                ticket = self._waiting.popleft()
                if ticket.cancelled.is_set():
                    ticket.on_end(Ending("cancelled"))
                elif ticket.limit < 1:
                    ticket.on_end(Ending("length"))
                else:
                    new.append(ticket)
        return new

    def _prefill(self, new: list[Ticket]) -> None:
        lengths = [len(ticket.prompt) for ticket in new]
        longest = max(lengths)
        padded = [[*ticket.prompt, *[0] * (longest - len(ticket.prompt))] for ticket in new]
        window = self._cache.fill(len(new))
        self._busy += new
        device = self._head_VD.device
        tokens_BT = torch.tensor(padded, device=device)
        hidden_BTD = self.model.hidden(tokens_BT, cache=window)
        window.keep(lengths)
        last_B = torch.tensor(lengths, device=device) - 1
        hidden_BD = hidden_BTD[torch.arange(len(new), device=device), last_B]
        self._deliver(new, F.linear(hidden_BD, self._head_VD))

    def _decode(self) -> None:
        busy = list(self._busy)
        window = self._cache.step()
        device = self._head_VD.device
        tokens_B1 = torch.tensor([ticket.last for ticket in busy], device=device)[:, None]
        hidden_BD = self.model.hidden(tokens_B1, cache=window)[:, -1]
        window.keep([1] * len(busy))
        self._deliver(busy, F.linear(hidden_BD, self._head_VD))

    def _deliver(self, tickets: list[Ticket], logits_BV: Tensor) -> None:
        """Give each request its next token, and its slot back where that was the last."""
        chosen = choose_each(tickets, logits_BV)
        for row, (ticket, token) in enumerate(zip(tickets, chosen, strict=True)):
            if token in ticket.stop_ids:
                self._end(ticket, Ending("stop"))
                continue
            ticket.last = token
            ticket.made += 1
            ticket.on_token(_described(ticket, token, logits_BV[row]))
            if ticket.made >= ticket.limit:
                self._end(ticket, Ending("length"))

    def _drop_cancelled(self) -> None:
        for ticket in [each for each in self._busy if each.cancelled.is_set()]:
            self._end(ticket, Ending("cancelled"))

    def _end(self, ticket: Ticket, ending: Ending) -> None:
        row = next(place for place, each in enumerate(self._busy) if each is ticket)
        last = self._cache.free(row)
        self._busy[row] = self._busy[last]
        self._busy.pop()
        ticket.on_end(ending)

    def _fail(self, tickets: Sequence[Ticket], failure: Exception) -> None:
        for ticket in tickets:
            ticket.on_end(Ending("failed", f"{type(failure).__name__}: {failure}"))


def _context_of(model: Decoder, asked: int) -> int:
    if asked > model.config.context:
        what = f"{asked:,} tokens are more than the model reads"
        raise DataError(what, "context", f"Set at most {model.config.context:,}.")
    return asked or min(model.config.context, MOST_CONTEXT)


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
