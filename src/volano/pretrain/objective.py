"""Language modelling: each token of a document is predicted from those before it."""

from torch import Tensor

from volano.model.decoder import Decoder
from volano.model.likelihood import mean_nll
from volano.text.stream import IGNORED_LABEL, Batch
from volano.train.objective import LossOutput


class LanguageModelling:
    """Mean negative log-likelihood, in nats per label; documents of a row do not see each other."""

    def loss(self, model: Decoder, batch: Batch) -> LossOutput:
        hidden_BTD = model.hidden(batch.tokens_BT, batch.document_BT)
        labels_BT: Tensor = batch.labels_BT
        loss = mean_nll(hidden_BTD, model.head_weight, labels_BT)
        return LossOutput(loss, {}, weight=(labels_BT != IGNORED_LABEL).sum())
