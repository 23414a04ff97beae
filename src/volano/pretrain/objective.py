"""Language modelling: each token of a document is predicted from those before it."""

from dataclasses import dataclass

from torch import Tensor

from volano.model.decoder import Decoder
from volano.model.likelihood import penalised_nll
from volano.text.stream import IGNORED_LABEL, Batch
from volano.train.objective import LossOutput


@dataclass(frozen=True)
class LanguageModelling:
    """Mean negative log-likelihood, in nats per label; documents of a row do not see each other.

    z_loss: weight of log² Z in the loss; the likelihood alone is then the figure `nll`.
    """

    z_loss: float = 0.0

    def loss(self, model: Decoder, batch: Batch) -> LossOutput:
        hidden_BTD = model.hidden(batch.tokens_BT, batch.document_BT)
        labels_BT: Tensor = batch.labels_BT
        found = penalised_nll(hidden_BTD, model.head_weight, labels_BT, z_weight=self.z_loss)
        parts = {"nll": found.nll, "squared_log_z": found.squared_log_z} if self.z_loss else {}
        return LossOutput(found.loss, parts, weight=(labels_BT != IGNORED_LABEL).sum())
