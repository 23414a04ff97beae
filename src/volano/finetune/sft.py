"""Supervised fine-tuning: the likelihood of the answer, given the question.

Loss falls on the assistant's tokens alone, its end of turn included, so that a model learns to
answer and to stop, and not to ask. Examples are packed into rows and do not see each other.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch

from volano.model.decoder import Decoder
from volano.model.likelihood import IGNORED_LABEL, mean_nll
from volano.text.chat import EncodedConversation
from volano.text.examples import pack_examples, positions, row_order
from volano.text.stream import Batch
from volano.train.objective import LossOutput


class AnswerObjective:
    """Mean negative log-likelihood of the answers' tokens, in nats per token."""

    def loss(self, model: Decoder, batch: Any) -> LossOutput:
        """The loss of a batch of packed rows; its weight is the number of answer tokens."""
        hidden_BTD = model.hidden(batch.tokens_BT, batch.document_BT)
        loss = mean_nll(hidden_BTD, model.head_weight, batch.labels_BT)
        answered = (batch.labels_BT != IGNORED_LABEL).sum()
        return LossOutput(loss, {}, weight=answered.to(torch.float32))


class AnswerStream:
    """Batches of packed examples, `epochs` times over; a part of an epoch is a part of its rows.

    `sources` names the source documents of each example, for lineage.
    """

    def __init__(
        self,
        examples: Sequence[EncodedConversation],
        sources: Sequence[Sequence[str]],
        *,
        context: int,
        padding_id: int,
        batch_rows: int,
        epochs: float,
        seed: int,
    ) -> None:
        self._packed, self._places = pack_examples(examples, context=context, padding_id=padding_id)
        self._tokens = [positions(example) for example in examples]
        self._sources = sources
        self.rows = len(self._places)
        self.batch_rows = min(batch_rows, self.rows)
        self.steps = max(1, round(self.rows * epochs / self.batch_rows))
        self._order = row_order(self.rows, total=self.steps * self.batch_rows, seed=seed)

    def batch(self, step: int) -> Batch:
        """The rows of one step."""
        rows = self._rows_of(step)
        return Batch(*(part[rows] for part in self._packed))

    def documents(self, until_step: int, *, without: Collection[int] = ()) -> Mapping[str, int]:
        """The source documents of all batches before that step but those of some steps, and how
        many tokens were read of examples made from them."""
        read = [self._rows_of(step) for step in range(until_step) if step not in without]
        return self._documents(row for rows in read for row in rows)

    def documents_at(self, step: int) -> list[str]:
        """The source documents of one batch."""
        return list(self._documents(self._rows_of(step)))

    def _documents(self, rows: Iterable[int]) -> Counter[str]:
        counted: Counter[str] = Counter()
        for row in rows:
            for place in self._places[row]:
                counted.update(dict.fromkeys(self._sources[place], self._tokens[place]))
        return counted

    def _rows_of(self, step: int) -> Any:
        return self._order[step * self.batch_rows : (step + 1) * self.batch_rows]
