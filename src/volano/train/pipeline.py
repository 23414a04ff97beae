"""Layers in stages: each process runs some, and the micro-batches of a step go through them.

One forward, one backward (1F1B): a stage holds the activations of no more micro-batches than there
are stages. The first embeds, the last has the final norm, the head and the loss; a tied embedding
is held by both, and its gradients are added up. The schedule is torch's own.

Shapes: B rows, T tokens of a row, D width.

Source: Narayanan et al. 2019 (PipeDream), section 3.2, in the form that torch has.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.distributed.pipelining import PipelineStage, Schedule1F1B

from volano.model.decoder import Decoder

MicroBatchLoss = Callable[[Any, Any], Tensor]  # what is finished, and its fields → what to descend


def layers_of(stage: int, *, stages: int, layers: int) -> range:
    """The layers of a stage; where they do not divide, the first stages have one more: the last
    has the head."""
    each, more = divmod(layers, stages)
    begin = stage * each + min(stage, more)
    return range(begin, begin + each + (stage < more))


class Finished:
    """The model to an objective, behind the last stage: its states are there already."""

    def __init__(self, decoder: Decoder, states_BTD: Tensor) -> None:
        self.config, self.head_weight = decoder.config, decoder.head_weight
        self._states_BTD = states_BTD

    def hidden(self, tokens_BT: Tensor, document_BT: Tensor | None = None) -> Tensor:
        """What the last stage has made of these tokens."""
        return self._states_BTD


class Stage(nn.Module):
    """Some layers of a decoder; of the others no weights are left in it."""

    def __init__(self, decoder: Decoder, place: int, stages: int) -> None:
        super().__init__()
        self.decoder = decoder
        self.place, self.first, self.last = place, place == 0, place == stages - 1
        self.layers = layers_of(place, stages=stages, layers=decoder.config.layers)
        body = decoder.model
        others = [each for at, each in enumerate(body.layers) if at not in self.layers]
        if not (self.first or (self.last and decoder.config.tied)):
            others.append(body.embed_tokens)
        if not self.last:
            others.append(body.norm)
            if not decoder.config.tied:
                others.append(decoder.lm_head)
        for each in others:
            each.to("meta").requires_grad_(False)

    def forward(self, given: Tensor, *, document_BT: Tensor | None = None) -> Tensor:
        """Tokens (B, T) or the states of the stage before, (B, T, D), → states."""
        states_BTD = self.decoder.embedded(given) if self.first else given
        states_BTD = self.decoder.through(states_BTD, document_BT, layers=self.layers)
        if self.last:
            normed: Tensor = self.decoder.model.norm(states_BTD)
            return normed
        return states_BTD


class Pipeline:
    """Runs the micro-batches of a step through this process's stage."""

    def __init__(
        self, stage: Stage, stages: int, group: ProcessGroup, loss: MicroBatchLoss
    ) -> None:
        self.stage, self._stages, self._group, self._loss = stage, stages, group, loss
        self._schedules: dict[tuple[int, int, int], Any] = {}
        self._fields: list[Tensor] = []
        self._batch_type: Any = None

    def backward(self, batch: Any, micro_batches: int) -> None:
        """The gradients of a batch's rows, added to those there are; the rows divide evenly."""
        self._fields, self._batch_type = [*batch], type(batch)
        documents = getattr(batch, "document_BT", None)
        more = {} if documents is None else {"document_BT": documents}
        rows, tokens = batch.tokens_BT.shape
        schedule = self._schedule(rows // micro_batches, tokens, micro_batches)
        if self.stage.first and not self.stage.last:
            schedule.step(batch.tokens_BT, **more)
        elif self.stage.last:
            # The fields are looked up by row: the schedule cuts one tensor, and no more.
            schedule.step(target=torch.arange(len(batch.tokens_BT)), losses=[], **more)
        else:
            schedule.step(**more)

    def _schedule(self, rows: int, tokens: int, micro_batches: int) -> Any:
        key = rows, tokens, micro_batches
        if key not in self._schedules:
            decoder = self.stage.decoder
            device = next(each for each in decoder.parameters() if each.requires_grad).device
            states_BTD = torch.empty(
                rows,
                tokens,
                decoder.config.width,
                dtype=decoder.compute_dtype,
                device="meta",
                requires_grad=True,
            )
            tokens_BT = torch.empty(rows, tokens, dtype=torch.int64, device="meta")
            # With shapes given nothing is run to learn them, which would be counted as a batch.
            stage = PipelineStage(
                self.stage,
                self.stage.place,
                self._stages,
                device,
                input_args=tokens_BT if self.stage.first else states_BTD,
                output_args=states_BTD,
                group=self._group,
            )
            self._schedules[key] = Schedule1F1B(
                stage, micro_batches, loss_fn=self._loss_of, scale_grads=False
            )
        return self._schedules[key]

    def _loss_of(self, states_BTD: Tensor, rows_B: Tensor) -> Tensor:
        part = self._batch_type(*(field[rows_B] for field in self._fields))
        return self._loss(Finished(self.stage.decoder, states_BTD), part)
