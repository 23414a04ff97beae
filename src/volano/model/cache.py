"""Keys and values of what a model has read, in memory taken once.

Rows are padded on the left, so that all of them write into the same column, and each row counts its
positions from where its own tokens begin: the padding of one row changes nothing in its answer.

Shapes: B rows, T new tokens, S columns in use, K key-value heads, W head width.
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


class StaticCache:
    """Room for `columns` tokens of each row; `padding_B` says how many of the first are padding."""

    def __init__(
        self, config: DecoderConfig, padding_B: Tensor, columns: int, dtype: torch.dtype
    ) -> None:
        rows = len(padding_B)
        shape = (config.layers, rows, config.key_value_heads, columns, config.head_width)
        self._keys = torch.zeros(shape, dtype=dtype, device=padding_B.device)
        self._values = torch.zeros_like(self._keys)
        self._padding_B = padding_B
        self._last_position = config.context - 1
        self._windows = [config.window_of(layer) for layer in range(config.layers)]
        self._masks: dict[int, Tensor] = {}
        self.used = 0

    def positions(self, tokens_BT: Tensor) -> Tensor:
        """The position of each new token in its own row, shape (B, T).

        Padding, and what a row that has ended still runs along with, get the nearest there is.
        """
        columns_T = torch.arange(self.used, self.used + tokens_BT.shape[1], device=tokens_BT.device)
        columns_S = torch.arange(self.used + tokens_BT.shape[1], device=tokens_BT.device)
        real_BS = columns_S >= self._padding_B[:, None]
        seen_TS = columns_S <= columns_T[:, None]
        itself_TS = columns_S == columns_T[:, None]  # or padding would attend to nothing: NaN
        mask = additive(real_BS[:, None] & seen_TS | itself_TS, self._keys.dtype)
        # Columns of one row differ as positions do.
        self._masks = masks_by_window(mask, columns_T, columns_S, self._windows)
        return (columns_T - self._padding_B[:, None]).clamp(0, self._last_position)

    def attend(
        self, layer: int, joined_BTP: Tensor, rotation: Rotation, layout: HeadLayout
    ) -> Tensor:
        """Keep the new keys and values of `layer`; attend to all that is kept."""
        query, key, value = split_heads(joined_BTP, rotation, layout)
        stop = self.used + key.shape[2]
        keys, values = self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]
        keys[:, :, self.used :] = key
        values[:, :, self.used :] = value
        return join_heads(attend(query, keys, values, self._masks[self._windows[layer]]))

    def advance(self, tokens: int) -> None:
        """The new tokens have passed every layer."""
        self.used += tokens

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only, in this order."""
        self._keys, self._values = self._keys[:, rows], self._values[:, rows]
        self._padding_B = self._padding_B[rows]
