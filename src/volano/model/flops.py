"""What a token costs to train, in floating-point operations, from the shape alone.

Free of torch, so that a plan can be drawn without it.
"""

from volano.model.config import DecoderConfig


def training_flops_per_token(
    config: DecoderConfig, tokens_per_row: int, *, frozen: bool = False
) -> float:
    """Operations forward and backward: 6 per weight that multiplies, and 12 · layers · heads ·
    head width · tokens of a row for the scores and sums of attention.

    A product and its sum are two operations; the way back takes twice the way there. The lookup in
    the embedding, norms, biases and softmax are not counted, nor what is computed twice. Attention
    counts whole rows, as the field does, though a token looks at those before it alone, and in a
    sliding window at few of them. `frozen`: 4 per weight, under an adapter, which is not counted.
    Source: Chowdhery et al. 2022 (PaLM), appendix B.
    """
    attention = 2 * config.width * config.head_width * (config.heads + config.key_value_heads)
    layer = attention + 3 * config.width * config.feed_forward
    weights = config.layers * layer + config.vocabulary * config.width
    scores = 12 * config.layers * config.heads * config.head_width * tokens_per_row
    return float((4 if frozen else 6) * weights + scores)
