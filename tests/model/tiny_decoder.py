"""A decoder small enough for every test, far enough from uniform that a wrong token shows."""

import torch

from volano.model.config import RopeScaling
from volano.model.decoder import Decoder, DecoderConfig, initialise

# What each family can do that a plain Llama does not, at sizes where it shows within 32 tokens.
FAMILY_FEATURES = {
    "llama": {
        "attention_bias": "all",
        "feed_forward_bias": True,
        "rope_scaling": RopeScaling("llama3", factor=8.0, original_context=16),
    },
    "mistral": {"window": 5, "head_width": 12},
    "qwen2": {
        "attention_bias": "inputs",
        "window": 4,
        "full_layers": (0,),
        "rope_scaling": RopeScaling("yarn", factor=4.0, original_context=8),
    },
    "qwen3": {"qk_norm": True, "head_width": 10, "attention_bias": "all"},
    "smollm3": {"unrotated_layers": (1,), "window": 6, "full_layers": (0,)},
}


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
        for name, parameter in decoder.named_parameters():
            if name.endswith(".bias"):
                parameter.normal_(0, 0.5, generator=generator)
            elif parameter.dim() == 1:  # norms that are all ones would hide a norm left out
                parameter.uniform_(0.5, 1.5, generator=generator)
            else:
                parameter.mul_(10)
    return decoder
