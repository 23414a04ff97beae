"""Batches of preference pairs: prompt and chosen response beside prompt and rejected response.

Pairs of about the same length share a batch, so that little of it is padding.

Shapes: B pairs, S = 2 sides (chosen, rejected), T positions.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from volano.text.chat import EncodedConversation
from volano.text.examples import positions, row_order
from volano.text.stream import IGNORED_LABEL

Array = npt.NDArray[Any]
WINDOW_BATCHES = 16  # pairs are sorted by length within this many batches: order stays random


class EncodedPair(NamedTuple):
    """Prompt and response as tokens, twice; labels stand on the responses alone."""

    chosen: EncodedConversation
    rejected: EncodedConversation


class PairBatch(NamedTuple):
    """The chosen side of a pair comes first. A pair is a row to the loop, so it is never split."""

    tokens_BST: Any  # int64
    labels_BST: Any  # int64, shifted; IGNORED_LABEL in prompt and padding
    reference_BS: Any  # float32, log-probability of each response under the reference, in nats


class PairStream:
    """Batches of `batch_pairs` pairs for `epochs`.

    `reference` holds the reference's log-probabilities, chosen and rejected, one row per pair.
    """

    def __init__(
        self,
        pairs: Sequence[EncodedPair],
        reference: Array,
        sources: Sequence[Sequence[str]],
        *,
        padding_id: int,
        batch_pairs: int,
        epochs: float,
        seed: int,
    ) -> None:
        self._pairs, self._reference, self._sources = pairs, reference, sources
        self._padding_id = padding_id
        self.batch_pairs = min(batch_pairs, len(pairs))
        self.steps = max(1, round(len(pairs) * epochs / self.batch_pairs))
        self._lengths = np.array([max(map(positions, pair)) for pair in pairs])
        order = row_order(len(pairs), total=self.steps * self.batch_pairs, seed=seed)
        self._order = self._by_length(order, seed)

    @property
    def tokens(self) -> int:
        """Positions in all batches, padding included."""
        lengths = self._lengths[self._order].reshape(self.steps, self.batch_pairs)
        return 2 * self.batch_pairs * int(lengths.max(axis=1).sum())

    def batch(self, step: int) -> PairBatch:
        """The pairs of one step, as wide as its longest response needs."""
        places = self._places_of(step)
        width = max(positions(side) for place in places for side in self._pairs[place])
        tokens_BST = np.full((len(places), 2, width), self._padding_id, np.int64)
        labels_BST = np.full_like(tokens_BST, IGNORED_LABEL)
        for pair, place in enumerate(places):
            for side, (ids, is_answer) in enumerate(self._pairs[place]):
                span = slice(len(ids) - 1)
                tokens_BST[pair, side, span] = ids[:-1]
                labels_BST[pair, side, span] = np.where(is_answer[1:], ids[1:], IGNORED_LABEL)
        return PairBatch(tokens_BST, labels_BST, self._reference[places])

    def documents(self, until_step: int, *, without: Collection[int] = ()) -> Mapping[str, int]:
        """The source documents of all batches before that step but those of some steps, and how
        many tokens were read of pairs made from them."""
        read = [self._places_of(step) for step in range(until_step) if step not in without]
        return self._documents(place for places in read for place in places)

    def documents_at(self, step: int) -> list[str]:
        """The source documents of one batch."""
        return list(self._documents(self._places_of(step)))

    def _documents(self, places: Iterable[int]) -> Counter[str]:
        counted: Counter[str] = Counter()
        for place in places:
            tokens = sum(positions(response) for response in self._pairs[place])
            counted.update(dict.fromkeys(self._sources[place], tokens))
        return counted

    def _places_of(self, step: int) -> Any:
        return self._order[step * self.batch_pairs : (step + 1) * self.batch_pairs]

    def _by_length(self, order: Array, seed: int) -> Array:
        window = self.batch_pairs * WINDOW_BATCHES
        batches: list[Array] = []
        for begin in range(0, len(order), window):
            places = order[begin : begin + window]
            places = places[np.argsort(self._lengths[places], kind="stable")]
            split = places.reshape(-1, self.batch_pairs)
            batches += list(np.random.default_rng([seed, begin, 1]).permutation(split))
        return np.concatenate(batches)
