"""A decoder small enough for every test, far enough from uniform that a wrong token shows."""

import torch

from volano.model.decoder import Decoder, DecoderConfig, initialise


def tiny_decoder(vocabulary=50, context=32, heads=4, key_value_heads=2, tied=True, **changed):
    settings = {
        "vocabulary": vocabulary,
        "width": 32,
        "layers": 2,
        "heads": heads,
        "key_value_heads": key_value_heads,
        "feed_forward": 48,
        "context": context,
        "tied": tied,
    }
    decoder = Decoder(DecoderConfig(**settings | changed))
    initialise(decoder, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.dim() == 1:  # norms that are all ones would hide a norm left out
                parameter.uniform_(0.5, 1.5, generator=generator)
            else:
                parameter.mul_(10)
    return decoder
