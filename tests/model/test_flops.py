import torch
from tiny_decoder import tiny_decoder
from torch.utils.flop_counter import FlopCounterMode

from volano.model.config import DecoderConfig
from volano.model.flops import training_flops_per_token


def test_operations_of_a_shape_counted_by_hand():
    shape = DecoderConfig(
        vocabulary=10, width=8, layers=3, heads=2, key_value_heads=1, feed_forward=5, context=4
    )
    # A layer: queries and output 8·8 each, keys and values 8·4 each, three of 8·5; the head 10·8.
    weights = 3 * (2 * 64 + 2 * 32 + 3 * 40) + 80
    assert training_flops_per_token(shape, 4) == 6 * weights + 12 * 3 * 2 * 4 * 4
    # Below an adapter no gradient of a weight is made.
    assert training_flops_per_token(shape, 4, frozen=True) == 4 * weights + 12 * 3 * 2 * 4 * 4


def test_operations_are_three_times_those_that_torch_counts_on_the_way_forward():
    model = tiny_decoder(tied=False)
    tokens_BT = torch.zeros(3, 32, dtype=torch.long)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(tokens_BT)
    counted = 3 * counter.get_total_flops() / tokens_BT.numel()
    assert counted == training_flops_per_token(model.config, 32)
