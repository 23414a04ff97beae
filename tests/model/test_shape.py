import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volano.core.errors import RecipeError
from volano.model.config import DecoderConfig
from volano.model.shape import shape_for, shape_of_depth


@settings(max_examples=20, deadline=None)
@given(st.integers(10_000_000, 10_000_000_000), st.sampled_from([4096, 16_384, 32_768]))
def test_large_counts_are_met_within_a_tenth(parameters, vocabulary):
    shape = shape_for(parameters, vocabulary, context=512)
    assert shape.parameters == pytest.approx(parameters, rel=0.1)
    assert shape.vocabulary == vocabulary
    assert shape.width == shape.heads * 64


def test_vocabulary_too_large_for_the_count_is_refused_with_the_nearest():
    with pytest.raises(RecipeError, match=r"vocabulary of 100,000 .* about 500,000 parameters"):
        shape_for(500_000, vocabulary=100_000, context=128)


@pytest.mark.parametrize(
    ("depth", "width"), [(1, 16), (2, 32), (3, 64), (4, 128), (6, 256), (8, 512), (12, 1152)]
)
def test_width_follows_from_depth(depth, width):
    shape = shape_of_depth(depth, vocabulary=4096, context=128)
    assert (shape.layers, shape.width, shape.feed_forward) == (depth, width, 3 * width)
    assert shape.heads == max(1, width // 64)


@pytest.mark.parametrize("depth", [4, 8, 16, 32])
def test_both_dials_name_the_same_shape(depth):
    shape = shape_of_depth(depth, vocabulary=4096, context=128)
    assert shape_for(shape.parameters, vocabulary=4096, context=128) == shape


@pytest.mark.parametrize("depth", [0, 46])
def test_depth_without_a_width_is_refused(depth):
    with pytest.raises(RecipeError, match=r"model.depth: no decoder has \d+ layers .* Set 1 to 45"):
        shape_of_depth(depth, vocabulary=4096, context=128)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"heads": 3, "key_value_heads": 3}, "width is no multiple of heads"),
        ({"heads": 4, "key_value_heads": 3}, "heads is no multiple of key_value_heads"),
        ({"width": 12}, "head width is odd"),
        ({"layers": 0}, "a count is below 1"),
        ({"window": -1}, "a count is below 1"),
        ({"unrotated_layers": (1,)}, "names a layer there is not"),
        ({"full_layers": (0,)}, "full_layers without a window"),
        ({"family": "gpt2"}, "no family 'gpt2'; there are llama, mistral, qwen2, qwen3, smollm3"),
        ({"family": "llama", "qk_norm": True}, "family llama does not have qk_norm True"),
        ({"family": "qwen3"}, "family qwen3 does not have qk_norm False"),
        ({"family": "qwen2"}, "family qwen2 does not have attention_bias 'none'"),
        ({"family": "mistral", "feed_forward_bias": True}, "does not have feed_forward_bias True"),
        ({"qk_norm": True, "attention_bias": "inputs"}, "none of llama, .* together"),
    ],
)
def test_impossible_shape_is_refused(changed, problem):
    shape = {
        "vocabulary": 10,
        "width": 16,
        "layers": 1,
        "heads": 4,
        "key_value_heads": 4,
        "feed_forward": 8,
        "context": 8,
    }
    with pytest.raises(RecipeError, match=problem):
        DecoderConfig(**shape | changed)


def test_shape_of_a_model_needs_no_torch():
    code = "import sys, volano.model, volano.model.shape; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
