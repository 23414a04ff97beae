"""config.json of each family, read and written. Parity with transformers is in tests/parity."""

from pathlib import Path

import pytest
from tiny_decoder import FAMILY_FEATURES, tiny_decoder

from volano.core.errors import DataError
from volano.model.config import FAMILIES, RopeScaling
from volano.model.families import describe_family, read_family

NAN, HUGE = float("nan"), 10**30
PATH = Path("folder/config.json")
SIZES = {
    "vocab_size": 70,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 56,
    "max_position_embeddings": 64,
}
YARN = {"factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 8}
LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def read(family, **stated):
    return read_family({"model_type": family, **SIZES, **stated}, PATH)


@pytest.mark.parametrize("family", FAMILY_FEATURES)
def test_what_is_written_is_read_as_the_same(family):
    config = tiny_decoder(**FAMILY_FEATURES[family]).config
    stated = describe_family(config)
    assert stated["model_type"] == family
    assert read_family(stated, PATH) == config
    # transformers 4 reads no rope_parameters, and 5 as well makes do without the older keys.
    older = {key: value for key, value in stated.items() if key != "rope_parameters"}
    newer = {key: stated[key] for key in stated.keys() - {"rope_theta", "rope_scaling"}}
    assert read_family(older, PATH) == read_family(newer, PATH) == config


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_decoder_of_any_family_keeps_its_family(family):
    config = read(family, sliding_window=None, no_rope_layers=[1, 1, 1])
    assert config.family == family
    assert read_family(describe_family(config), PATH) == config


def test_what_a_file_leaves_out_takes_the_default_of_its_family():
    wide = {"num_attention_heads": 32, "hidden_size": 64}
    without = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
    read_without = {
        family: read_family({"model_type": family, **without, **wide}, PATH) for family in FAMILIES
    }
    heads = {family: config.key_value_heads for family, config in read_without.items()}
    assert heads == {"llama": 32, "mistral": 8, "qwen2": 32, "qwen3": 32, "smollm3": 4}
    assert {family: config.window for family, config in read_without.items()} == {
        "llama": 0,
        "mistral": 4096,
        "qwen2": 0,  # it has one, and does not use it
        "qwen3": 0,
        "smollm3": 0,
    }
    assert read_without["qwen3"].head_width == 128
    assert read_without["qwen2"].head_width == 2
    assert read_without["smollm3"].rope_theta == 2_000_000
    assert read_without["smollm3"].tied
    assert not read_without["qwen3"].tied
    assert read("smollm3", num_hidden_layers=9).unrotated_layers == (3, 7)
    assert read("llama", num_key_value_heads=None).key_value_heads == 4


@pytest.mark.parametrize(
    ("stated", "full_layers"),
    [
        ({"max_window_layers": 2}, (0, 1)),
        ({"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}, (1,)),
        ({"max_window_layers": 0}, ()),
    ],
)
def test_windows_of_some_layers(stated, full_layers):
    config = read("qwen2", use_sliding_window=True, sliding_window=7, **stated)
    assert (config.window, config.full_layers) == (7, full_layers)
    assert read_family(describe_family(config), PATH) == config


def test_window_that_no_layer_has_is_none():
    config = read("qwen3", use_sliding_window=True, sliding_window=7, max_window_layers=3)
    assert config.window == 0


def test_smollm3_has_its_windows_where_it_has_no_positions():
    config = read("smollm3", use_sliding_window=True, sliding_window=7, no_rope_layers=[1, 0, 1])
    assert (config.window, config.full_layers, config.unrotated_layers) == (7, (0, 2), (1,))


@pytest.mark.parametrize(
    "stated",
    [
        {"rope_theta": 500.0, "rope_scaling": {"type": "yarn", **YARN}},
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, **YARN}},
        {
            "rope_theta": 500.0,
            "original_max_position_embeddings": 16,  # outside, it goes first
            "rope_scaling": {"rope_type": "yarn", **YARN, "original_max_position_embeddings": 9},
        },
        {"rope_theta": 500.0, "rope_scaling": {"type": "yarn", **YARN, "factor": None}},
    ],
)
def test_both_spellings_of_a_scaling_are_read(stated):
    config = read("qwen2", **stated)
    assert config.rope_theta == 500
    assert config.rope_scaling == RopeScaling("yarn", 4.0, 16, beta_fast=8)


@pytest.mark.parametrize(
    ("family", "stated", "problem"),
    [
        ("llama", {"rope_scaling": {"type": "longrope"}}, "rope_type 'longrope' is not supported"),
        ("llama", {"rope_scaling": {"type": ["yarn"]}}, "rope_type ['yarn'] is not supported"),
        ("llama", {"rope_scaling": "yarn"}, "rope parameters 'yarn' are not supported"),
        ("llama", {"rope_scaling": {"type": "linear"}}, "rope_type 'linear' has no factor"),
        ("llama", {"rope_scaling": {"type": "linear", "factor": "4"}}, "'linear' is '4'"),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 0.5}}, "factor 0.5 is below 1"),
        (
            "llama",
            {"rope_scaling": {"rope_type": "llama3", **LLAMA3, "short_factor": [1]}},
            "short_factor of rope_type 'llama3' is not supported",
        ),
        ("qwen2", {"rope_parameters": {"mrope_section": [1]}}, "mrope_section of rope_type"),
        ("qwen3", {"rope_parameters": {"full_attention": {}}}, "full_attention of rope_type"),
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5 is not supported"),
        (
            "llama",
            {"rope_parameters": {"partial_rotary_factor": 0.5}},
            "partial_rotary_factor 0.5 is not supported",
        ),
        ("qwen3_moe", {}, "model_type 'qwen3_moe' is not supported. What works: model_type llama,"),
        (["llama"], {}, "model_type ['llama'] is not supported"),
        ("llama", {"auto_map": {"AutoModel": "own.Own"}}, "auto_map {'AutoModel': 'own.Own'} is"),
        ("llama", {"num_local_experts": 8}, "num_local_experts 8 is not supported"),
        ("llama", {"final_logit_softcapping": 30.0}, "final_logit_softcapping 30.0 is not"),
        ("llama", {"sliding_window": 5}, "sliding_window 5 is not supported"),
        ("mistral", {"sliding_window": "5"}, "sliding_window is '5', not a count"),
        ("mistral", {"sliding_window": 5, "layer_types": ["full_attention"] * 3}, "layer_types ["),
        ("qwen3", {"layer_types": ["chunked_attention"] * 3}, "layer_types ["),
        ("qwen3", {"layer_types": ["full_attention"]}, "layer_types ['full_attention'] are not"),
        ("qwen3", {"layer_types": ["sliding_attention"] * 3}, "sliding_window is not set"),
        ("qwen2", {"use_sliding_window": True, "max_window_layers": "all"}, "layers is 'all'"),
        ("smollm3", {"no_rope_layers": [1]}, "no_rope_layers [1] does not name every layer"),
        ("smollm3", {"no_rope_layer_interval": 0}, "interval is 0, not 1 to"),
    ],
)
def test_what_would_compute_something_else_is_refused(family, stated, problem):
    with pytest.raises(DataError) as refused:
        read(family, **stated)
    message = str(refused.value)
    assert message.startswith("folder/config.json: ")
    assert problem in message
    assert "\n" not in message


def scaled(kind, **changed):
    values = {"linear": {"factor": 4.0}, "yarn": YARN, "llama3": LLAMA3}[kind]
    return {"rope_scaling": {"rope_type": kind, **values, **changed}}


@pytest.mark.parametrize(
    ("family", "stated", "problem"),
    [
        ("llama", {"vocab_size": True}, "vocab_size is True, not a count"),
        ("llama", {"hidden_size": 32.0}, "hidden_size is 32.0, not a count"),
        ("llama", {"vocab_size": HUGE}, "vocab_size is a number of many digits, not 1 to"),
        ("llama", {"num_hidden_layers": 10**8}, "num_hidden_layers is 100,000,000, not 1 to"),
        ("llama", {"num_attention_heads": HUGE}, "num_attention_heads is a number of many"),
        ("llama", {"max_position_embeddings": 10**11}, "embeddings is 100,000,000,000, not"),
        ("llama", {"num_key_value_heads": 2.0}, "num_key_value_heads is 2.0, not a count"),
        ("llama", {"num_key_value_heads": 0}, "num_key_value_heads is 0, not 1 to"),
        ("llama", {"head_dim": -8}, "head_dim is -8, not 1 to"),
        ("llama", {"head_dim": 8.0}, "head_dim is 8.0, not a count"),
        ("llama", {"rms_norm_eps": NAN}, "rms_norm_eps is nan, not a number above 0"),
        ("llama", {"rms_norm_eps": -1}, "rms_norm_eps is -1, not a number above 0"),
        ("llama", {"rms_norm_eps": None}, "rms_norm_eps is None, not a number"),
        ("llama", {"rope_theta": 0}, "rope_theta is 0, not a number above 1"),
        ("llama", {"rope_theta": NAN}, "rope_theta is nan, not a number above 1"),
        ("llama", {"rope_theta": 10**400}, "rope_theta is inf, not a number above 1"),
        ("llama", {"tie_word_embeddings": "false"}, "tie_word_embeddings is 'false', not true"),
        ("llama", {"attention_bias": "no"}, "attention_bias is 'no', not true or false"),
        ("llama", {"mlp_bias": 1}, "mlp_bias is 1, not true or false"),
        ("qwen3", {"use_sliding_window": "no"}, "use_sliding_window is 'no', not true"),
        ("llama", {"hidden_act": None}, "hidden_act None is not supported"),
        ("llama", scaled("linear", factor=NAN), "'linear' is nan, not a number above 0"),
        ("llama", scaled("linear", factor=True), "'linear' is True, not a number"),
        ("llama", scaled("linear", factor=float("inf")), "'linear' is inf, not a number"),
        ("llama", scaled("yarn", beta_fast=0), "beta_fast of rope_type 'yarn' is 0, not"),
        ("llama", scaled("yarn", beta_slow=-1), "beta_slow of rope_type 'yarn' is -1, not"),
        ("llama", scaled("yarn", truncate=0), "truncate of rope_type 'yarn' is 0, not true"),
        (
            "llama",
            scaled("yarn", original_max_position_embeddings=8.5),
            "original_context of rope_type 'yarn' is 8.5, not a count",
        ),
        (
            "llama",
            scaled("yarn", factor=None, original_max_position_embeddings=0),
            "original_context of rope_type 'yarn' is 0, not 1 to",
        ),
        ("llama", scaled("llama3", low_freq_factor=0), "'llama3' is 0, not a number above 0"),
        ("mistral", {"sliding_window": True}, "sliding_window is True, not a count"),
        ("mistral", {"sliding_window": HUGE}, "sliding_window is a number of many digits"),
        ("qwen2", {"layer_types": [["x"], {}, 1]}, "layer_types [['x'], {}, 1] are not"),
        ("smollm3", {"no_rope_layers": ["0", "1", "1"]}, "no_rope_layers is '0', not a count"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(family, stated, problem):
    with pytest.raises(DataError) as refused:
        read(family, **stated)
    message = str(refused.value)
    assert message.startswith("folder/config.json: ")
    assert problem in message
    assert "\n" not in message
