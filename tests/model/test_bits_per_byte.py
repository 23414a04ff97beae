import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from volano.model.bits_per_byte import bits_per_byte
from volano.model.decoder import Decoder, DecoderConfig, initialise
from volano.text.tokenizer import train_tokenizer

CONTEXT = 8


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["abc é abc"] * 5, vocabulary=265)


@pytest.fixture(scope="module")
def model(tokenizer):
    decoder = Decoder(
        DecoderConfig(
            vocabulary=tokenizer.vocabulary,
            width=16,
            layers=2,
            heads=2,
            key_value_heads=2,
            feed_forward=32,
            context=CONTEXT,
        )
    )
    initialise(decoder, seed=0)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(3)  # far from uniform, so that a wrong token would show
    return decoder


def reference(model, tokenizer, text, stride):
    """One token after the other, each with the context that the docstring gives it."""
    whole = [tokenizer.end_of_text_id, *tokenizer.encode(text)]
    bits = 0.0
    for place in range(1, len(whole)):
        start = 0
        while start + CONTEXT < place:  # the first window that holds it as a label
            start += stride
        with torch.no_grad():
            logits = model(torch.tensor([whole[start:place]]))[0, -1]
        bits -= logits.log_softmax(-1)[whole[place]].item() / math.log(2)
    return bits


@settings(deadline=None, max_examples=30)
@given(
    texts=st.lists(st.text(alphabet="abcé ", max_size=40), min_size=1, max_size=4),
    stride=st.sampled_from([0, 1, 3, CONTEXT]),
)
def test_equals_token_by_token_reference(model, tokenizer, texts, stride):
    found = bits_per_byte(model, tokenizer, texts, stride=stride)
    expected = [reference(model, tokenizer, text, stride or CONTEXT // 2) for text in texts]
    np.testing.assert_allclose(found.bits, expected, rtol=1e-4, atol=1e-4)
    assert found.utf8_bytes.tolist() == [len(text.encode()) for text in texts]


def test_uniform_model_pays_the_logarithm_of_the_vocabulary_per_token(model, tokenizer):
    uniform = Decoder(model.config)
    with torch.no_grad():
        for parameter in uniform.parameters():
            parameter.zero_()
    text = "abc xyz"
    found = bits_per_byte(uniform, tokenizer, [text])
    tokens = len(tokenizer.encode(text))
    assert found.value == pytest.approx(tokens * math.log2(tokenizer.vocabulary) / 7)


def test_value_weighs_texts_by_their_bytes_and_is_undefined_for_none(model, tokenizer):
    found = bits_per_byte(model, tokenizer, ["a", "abc abc abc"])
    assert found.value == pytest.approx(found.bits.sum() / 12)
    assert math.isnan(bits_per_byte(model, tokenizer, [""]).value)
    assert math.isnan(bits_per_byte(model, tokenizer, []).value)
