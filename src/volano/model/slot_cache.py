"""Keys and values of many answers at once, each of its own length, in memory taken once.

A slot is one row of the cache. Busy slots are always the first ones, so that a step reads a view
and copies nothing; when one of them ends, the last takes its place. Rows need no padding: each
writes at its own end, and a token sees only what stands before it in its row.

Shapes: B rows of a step, T new tokens, S columns in use, K key-value heads, W head width.
"""

import torch
from torch import Tensor

from volano.model.attention import (
    HeadLayout,
    additive,
    attend,
    join_heads,
    masks_by_window,
    split_heads,
)
from volano.model.config import DecoderConfig
from volano.model.rotary import Rotation


class SlotCache:
    """Room for `slots` rows of `context` tokens. `lengths` are the tokens in every busy row."""

    def __init__(
        self,
        config: DecoderConfig,
        slots: int,
        dtype: torch.dtype,
        device: torch.device,
        *,
        context: int,
    ) -> None:
        shape = (config.layers, slots, config.key_value_heads, context, config.head_width)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.context = context
        self.windows = [config.window_of(layer) for layer in range(config.layers)]
        self.lengths: list[int] = []

    def fill(self, rows: int) -> "Window":
        """A step that reads prompts into that many new rows, behind the busy ones."""
        first = len(self.lengths)
        self.lengths += [0] * rows
        return Window(self, first, len(self.lengths))

    def step(self) -> "Window":
        """A step of one token in every busy row."""
        return Window(self, 0, len(self.lengths))

    def free(self, row: int) -> int:
        """Give a row back. The last busy row moves into it; its former place is returned."""
        last = len(self.lengths) - 1
        if row != last:
            used = self.lengths[last]
            for kept in (self.keys, self.values):
                kept[:, row, :, :used] = kept[:, last, :, :used]
            self.lengths[row] = self.lengths[last]
        self.lengths.pop()
        return last


class Window:
    """The rows of one step, as the decoder wants a cache (model/decoder.py, Cache)."""

    def __init__(self, cache: SlotCache, first: int, stop: int) -> None:
        self._cache = cache
        self._rows = slice(first, stop)
        self._starts = cache.lengths[first:stop]
        self._masks: dict[int, Tensor] = {}
        self._columns = 0
        self._position_BT = torch.empty(0, dtype=torch.long)

    def positions(self, tokens_BT: Tensor) -> Tensor:
        """The position of each new token in its own row, shape (B, T)."""
        tokens, device = tokens_BT.shape[1], tokens_BT.device
        starts_B = torch.tensor(self._starts, device=device)
        self._columns = max(self._starts) + tokens
        assert self._columns <= self._cache.context, "a row is longer than the context"
        self._position_BT = starts_B[:, None] + torch.arange(tokens, device=device)
        columns_S = torch.arange(self._columns, device=device)
        seen_BTS = columns_S <= self._position_BT[:, :, None]
        mask = additive(seen_BTS, self._cache.keys.dtype)
        self._masks = masks_by_window(mask, self._position_BT, columns_S, self._cache.windows)
        return self._position_BT

    def attend(
        self, layer: int, joined_BTP: Tensor, rotation: Rotation, layout: HeadLayout
    ) -> Tensor:
        """Keep the new keys and values of `layer` in their rows; attend to all that is there."""
        query, key, value = split_heads(joined_BTP, rotation, layout)
        rows_B1 = torch.arange(len(self._starts), device=query.device)[:, None]
        found = []
        for kept, new in ((self._cache.keys, key), (self._cache.values, value)):
            rows = kept[layer, self._rows]
            rows[rows_B1, :, self._position_BT] = new.transpose(1, 2)
            found.append(rows[:, :, : self._columns])
        mask = self._masks[self._cache.windows[layer]]
        return join_heads(attend(query, found[0], found[1], mask))

    def advance(self, tokens: int) -> None:
        """The new tokens have passed every layer; `keep` says how many of them count."""

    def keep(self, tokens: list[int]) -> None:
        """How many of the new tokens of each row were real; what was padding is written over."""
        for place, (start, count) in enumerate(zip(self._starts, tokens, strict=True)):
            self._cache.lengths[self._rows.start + place] = start + count
