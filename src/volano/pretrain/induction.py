"""A start with an induction head: what followed an earlier occurrence of a token is in sight.

Much of what a document says it has said before: names of arguments, of modules, of people. Heads
that look for the token behind an earlier occurrence form late in training, and a run of a few
million tokens ends before they do. The two halves of one can be written down: a head of the first
layer that looks one token back, and one of the second that looks for the token whose predecessor
is the present one. What is made of what they see is left to training: the second adds nothing at
first. Worth 0.06 bits per byte at 0.8M tokens (docs/log.md).

No text is read for it. The embeddings have to be those of pretrain/bigrams.py, of which one
direction is common to all tokens: queries and keys that only the position changes come from it.

Shapes: V vocabulary, D width, W head width, P = W/2 pairs that rotation turns, K numbers of a code,
R directions in which embeddings differ.

Sources: Olsson et al. 2022 (induction heads); Su et al. 2021 (under rotation the score of a
constant query and key depends on their distance alone).
"""

from math import sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import linprog
from torch import Tensor

from volano.model.config import DecoderConfig
from volano.model.decoder import Decoder

Array = npt.NDArray[np.float64]
CODE_NUMBERS = 32  # by which a token is known again; in narrow models a sixth of the width
# In nats of a score, for tokens like the vocabulary's mean: the token before above every other, a
# token met again above another, and the document's beginning, for when nothing is to be found.
BEFORE, AGAIN, NOTHING = 8.0, 5.0, 4.0
# Length of a code beside that of an embedding. Much less, and the first steps of training drown it;
# much more, and it drowns the embedding (docs/log.md).
LOUDNESS = 0.6
SMALLEST_SPREAD = 1e-6  # beside the largest; below, embeddings do not differ but for rounding


class _Codes(NamedTuple):
    """How tokens are told apart, read from embeddings as the first norm gives them."""

    common_D: Array  # of length 1
    common: float  # an embedding's part in that direction, on average
    code_KD: Array  # gives a token's code, of length 1 on average
    mixture_WD: Array  # as many numbers as a head has, of what tells tokens apart, not evened out
    beginning_D: Array  # gives 1 for the end-of-text token, and little for most others


def add_induction_head(model: Decoder, end_of_text_id: int) -> None:
    """Make the first heads of the first two layers of a model that starts from bigrams an induction
    head; K directions in which embeddings differ least are cleared for what passes between them.

    For a plain Llama: QK-norm or scaled rotation would undo the scores.
    """
    config = model.config
    assert config.layers >= 2, "an induction head takes two layers"
    width, pairs = config.head_width, config.head_width // 2
    embedding = model.get_parameter("model.embed_tokens.weight")
    head = model.get_parameter("lm_head.weight")
    directions_RD, spread_R = _directions(_normed(embedding))
    # Half of the directions in which embeddings differ have to be left: a toy corpus has few.
    most = int((spread_R > SMALLEST_SPREAD * spread_R[-1]).sum()) // 4 * 2
    numbers = max(2, min(CODE_NUMBERS, config.width // 6 // 2 * 2, most))
    passage_KD = directions_RD[:numbers]
    with torch.no_grad():
        for weight in (embedding, head):
            values = weight.double().numpy()
            weight.copy_(torch.from_numpy(values - values @ passage_KD.T @ passage_KD))
    codes = _codes(_normed(embedding), numbers, width, end_of_text_id)
    length = float(np.sqrt(np.square(embedding.detach().double().numpy()).sum(axis=1).mean()))

    query_W, key_W = one_back(config)
    constant_D = codes.common_D / codes.common
    _put(_weight(model, 0, "q")[:width], np.outer(query_W, constant_D))
    _put(_weight(model, 0, "k")[:width], np.outer(key_W, constant_D))
    _put(_weight(model, 0, "v")[:numbers], codes.code_KD)
    _put(_weight(model, 0, "o")[:, :numbers], passage_KD.T * LOUDNESS * length)

    # The pairs that rotation turns least, so that the distance hardly matters.
    slow = np.arange(pairs - numbers // 2, pairs)
    places = np.concatenate([slow, pairs + slow])
    query_WD, key_WD = np.zeros((width, config.width)), np.zeros((width, config.width))
    # A norm gives the embedding length √D, and so the code in the passage LOUDNESS times that.
    strength = sqrt(AGAIN * sqrt(width))
    query_WD[places] = strength * codes.code_KD
    key_WD[places] = strength * passage_KD / (LOUDNESS * sqrt(config.width))
    free = pairs - numbers // 2 - 1
    if free >= 0:
        query_WD[free] = sqrt(NOTHING * sqrt(width)) * constant_D
        key_WD[free] = sqrt(NOTHING * sqrt(width)) * codes.beginning_D
    _put(_weight(model, 1, "q")[:width], query_WD)
    _put(_weight(model, 1, "k")[:width], key_WD)
    _put(_weight(model, 1, "v")[: len(codes.mixture_WD)], codes.mixture_WD)


def one_back(config: DecoderConfig) -> tuple[Array, Array]:
    """A query and a key, shape (W,) each, whose score at distance 1 is BEFORE nats above that at
    every other distance of the context.

    Each pair adds amplitude² · cos((distance - 1) · frequency); a linear program chooses the shares
    of the pairs so that the nearest rival is as far below as it can be.
    """
    pairs = config.head_width // 2
    frequency_P = config.rope_theta ** (-np.arange(pairs) / pairs)
    others = np.array([each for each in range(max(config.context, 3)) if each != 1])
    score = np.cos(np.outer(others - 1, frequency_P))  # beside 1 at distance 1
    found = linprog(
        np.append(np.zeros(pairs), -1.0),  # the margin, as large as can be
        A_ub=np.column_stack([score, np.ones(len(others))]),
        b_ub=np.ones(len(others)),
        A_eq=np.append(np.ones(pairs), 0.0)[None],
        b_eq=[1.0],
        bounds=[*[(0.0, 1.0)] * pairs, (None, None)],
    )
    shares_P, margin = found.x[:pairs], found.x[pairs]
    amplitude_P = np.sqrt(np.maximum(shares_P, 0) * BEFORE / margin * sqrt(config.head_width))
    query = amplitude_P * np.cos(frequency_P), -amplitude_P * np.sin(frequency_P)
    return np.concatenate(query), np.concatenate([amplitude_P, np.zeros(pairs)])


def _normed(embedding: Tensor) -> Array:
    """Embeddings as the first norm gives them on: of length √D."""
    values_VD: Array = embedding.detach().double().numpy()
    lengths_V1 = np.sqrt(np.square(values_VD).mean(axis=1, keepdims=True))
    normed_VD: Array = values_VD / np.maximum(lengths_V1, 1e-12)
    return normed_VD


def _common(normed_VD: Array) -> Array:
    mean_D: Array = normed_VD.mean(axis=0)
    return mean_D / np.linalg.norm(mean_D)


def _directions(normed_VD: Array) -> tuple[Array, Array]:
    """The directions beside the common one, shape (R, D), that in which embeddings differ least
    first; and the standard deviation along each, (R,)."""
    common_D = _common(normed_VD)
    gram_DD = normed_VD.T @ normed_VD / len(normed_VD)
    beside_DD = np.eye(len(gram_DD)) - np.outer(common_D, common_D)
    gram_DD = beside_DD @ gram_DD @ beside_DD
    # The common direction is given the largest value of all, and left out as the last.
    values, vectors = np.linalg.eigh(gram_DD + 2 * np.trace(gram_DD) * np.outer(common_D, common_D))
    return vectors.T[:-1], np.sqrt(np.maximum(values[:-1], 0))


def _codes(normed_VD: Array, numbers: int, width: int, end_of_text_id: int) -> _Codes:
    common_D = _common(normed_VD)
    directions_RD, spread_R = _directions(normed_VD)
    told = spread_R > SMALLEST_SPREAD * spread_R[-1]  # not those that were cleared
    # All directions count alike: a code is to tell tokens apart, not to say which are akin.
    even_RD = directions_RD[told] / spread_R[told, None] / sqrt(told.sum())
    random = np.random.default_rng(0)
    mixture_RK, _ = np.linalg.qr(random.standard_normal((len(even_RD), numbers)))
    mixture_RW, _ = np.linalg.qr(random.standard_normal((len(even_RD), min(width, len(even_RD)))))
    own_D = normed_VD[end_of_text_id]
    beginning_D = even_RD.T @ (even_RD @ own_D)
    return _Codes(
        common_D,
        float((normed_VD @ common_D).mean()),
        mixture_RK.T @ even_RD * sqrt(len(even_RD) / numbers),
        mixture_RW.T @ directions_RD[told],
        beginning_D / max(float(own_D @ beginning_D), 1e-12),
    )


def _weight(model: Decoder, layer: int, projection: str) -> Tensor:
    return model.get_parameter(f"model.layers.{layer}.self_attn.{projection}_proj.weight")


def _put(place: Tensor, values: Array) -> None:
    with torch.no_grad():
        place.copy_(torch.from_numpy(np.ascontiguousarray(values)))
