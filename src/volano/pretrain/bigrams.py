"""A start from counted bigrams: before its first step the model knows which token follows which.

From random weights a model of this size spends a good part of its steps on learning that. The
counts give it away at once: embedding and head are the low-rank factors of the bigrams' pointwise
mutual information, and every layer begins by adding nothing, so that the first logits are about
log p(next token | token). Worth 0.03–0.04 bits per byte at 2.5M tokens (docs/log.md).

Only rows that the run trains on are counted: no further document enters the model.

Shapes: V vocabulary, D width.

Sources: Levy & Goldberg 2014 (embeddings as factors of PMI); Halko et al. 2011 (randomised SVD);
Zhang et al. 2019 (Fixup: residual branches that begin at zero).
"""

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix

from volano.model.decoder import Decoder
from volano.text.stream import IGNORED_LABEL, TokenShards

Array = npt.NDArray[np.float64]
# Of each side's frequency: at 0 all pairs weigh alike, at 0.5 each as often as it comes.
FREQUENCY_POWER = 0.25
EMBEDDING_RMS = 0.5  # large enough that AdamW's first steps do not overwrite it
LARGEST_SHARE = 0.8  # of a token's squared length that its own direction may take
ROWS_AT_ONCE = 4096
POWER_ITERATIONS = 2


def start_from_bigrams(model: Decoder, shards: TokenShards, rows: npt.NDArray[np.int64]) -> None:
    """Set embedding and head of an initialised, untied model from the bigrams in these rows.

    What the layers write into the residual stream is set to zero; all else keeps its weights.
    """
    assert not model.config.tied, "one matrix cannot hold both factors"
    counts_VV = count_bigrams(shards, rows, model.config.vocabulary)
    embedding_VD, head_VD = factors(counts_VV, model.config.width)
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.from_numpy(embedding_VD * EMBEDDING_RMS))
        model.lm_head.weight.copy_(torch.from_numpy(head_VD))
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.zero_()


def count_bigrams(shards: TokenShards, rows: npt.NDArray[np.int64], vocabulary: int) -> csr_matrix:
    """How often each token (row) is followed by each label (column) in these rows, (V, V)."""
    counts_VV = csr_matrix((vocabulary, vocabulary), dtype=np.float64)
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        batch = shards.read(rows[begin : begin + ROWS_AT_ONCE])
        labelled = batch.labels_BT != IGNORED_LABEL
        places = batch.tokens_BT[labelled], batch.labels_BT[labelled]
        counts_VV += csr_matrix((np.ones(len(places[0])), places), counts_VV.shape)
    return counts_VV


def factors(counts_VV: csr_matrix, width: int) -> tuple[Array, Array]:
    """Embedding and head, both (V, D), whose product is about log p(label | token).

    An embedding has length √D, as the final norm gives it to the head. One direction is common to
    all tokens and holds log p(label); the others hold the positive part of the mutual information,
    in nats, that of pairs seen once halved. A fixed rotation spreads both over all D dimensions.
    """
    from sklearn.utils.extmath import randomized_svd  # 1.3 seconds, which other starts do without

    cells = counts_VV.tocoo()
    total = cells.data.sum()
    first_V = np.asarray(counts_VV.sum(axis=1)).ravel() + 0.5
    label_V = np.asarray(counts_VV.sum(axis=0)).ravel() + 0.5
    first_V, label_V = first_V / first_V.sum(), label_V / label_V.sum()
    information = np.log(cells.data / total / (first_V[cells.row] * label_V[cells.col]))
    information = np.maximum(information * cells.data / (cells.data + 1), 0)
    first_weight_V, label_weight_V = first_V**FREQUENCY_POWER, label_V**FREQUENCY_POWER
    weighted = information * first_weight_V[cells.row] * label_weight_V[cells.col]
    left, strengths, right = randomized_svd(
        csr_matrix((weighted, (cells.row, cells.col)), counts_VV.shape),
        min(width - 1, len(first_V)),
        n_iter=POWER_ITERATIONS,
        random_state=0,
    )
    embedding = left * np.sqrt(strengths) / first_weight_V[:, None]
    head = right.T * np.sqrt(strengths) / label_weight_V[:, None]
    # A small vocabulary has fewer directions than a wide model.
    more = ((0, 0), (0, width - 1 - len(strengths)))
    embedding, head = np.pad(embedding, more), np.pad(head, more)
    # Of a token's squared length D, half on average is its own, the rest the common direction's.
    squared_V = np.square(embedding).sum(axis=1)
    scale = np.sqrt(width / 2 / max((first_V * squared_V).sum(), 1e-12))
    embedding, head, squared_V = embedding * scale, head / scale, squared_V * scale**2
    largest = LARGEST_SHARE * width
    embedding *= np.sqrt(np.minimum(1, largest / np.maximum(squared_V, 1e-12)))[:, None]
    common_V = np.sqrt(width - np.minimum(squared_V, largest))
    logarithm_V = np.log(label_V)
    prior_V = (logarithm_V - logarithm_V.mean()) / (first_V * common_V).sum()
    embedding = np.column_stack([embedding, common_V])
    head = np.column_stack([head, prior_V])
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((width, width)))
    return embedding @ rotation, head @ rotation
