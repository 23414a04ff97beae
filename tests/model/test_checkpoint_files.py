import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_decoder import FAMILY_FEATURES, tiny_decoder

from volano.core.errors import DataError
from volano.model.huggingface import load_checkpoint, save_checkpoint
from volano.text.tokenizer import train_tokenizer


@pytest.fixture
def folder(tmp_path):
    save_checkpoint(tmp_path, tiny_decoder(tied=False))
    return tmp_path


def test_bias_that_the_config_does_not_name_is_refused(tmp_path):
    save_checkpoint(tmp_path, tiny_decoder(attention_bias="all"))
    change(tmp_path / "config.json", attention_bias=False)
    with pytest.raises(DataError, match=r"unknown weight model.layers.0.self_attn.._proj.bias"):
        load_checkpoint(tmp_path)


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("family", FAMILY_FEATURES)
def test_family_is_saved_as_what_it_is_and_comes_back_to_the_bit(tmp_path, family):
    model = tiny_decoder(**FAMILY_FEATURES[family])
    save_checkpoint(tmp_path, model)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == family
    loaded = load_checkpoint(tmp_path)
    assert loaded.config == model.config
    inputs = torch.arange(20)[None]
    assert torch.equal(loaded(inputs), model(inputs))


@pytest.mark.parametrize("tied", [True, False])
def test_saved_model_comes_back_to_the_bit_and_can_be_trained_on(tmp_path, tied):
    model = tiny_decoder(tied=tied, rope_theta=123.0, norm_epsilon=1e-6)
    save_checkpoint(tmp_path, model)
    loaded = load_checkpoint(tmp_path)
    assert loaded.config == model.config
    inputs = torch.arange(20)[None]
    assert torch.equal(loaded(inputs), model(inputs))
    loaded(inputs).sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())


def test_tied_head_that_is_stored_must_be_the_embedding(tmp_path):
    model = tiny_decoder(tied=True)
    save_checkpoint(tmp_path, model)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    head = weights["model.embed_tokens.weight"].clone()
    save_file(weights | {"lm_head.weight": head}, path)
    inputs = torch.arange(20)[None]
    assert torch.equal(load_checkpoint(tmp_path)(inputs), model(inputs))
    head[3, 4] += 1
    save_file(weights | {"lm_head.weight": head}, path)
    with pytest.raises(DataError, match=r"differs from .*Set tie_word_embeddings to false"):
        load_checkpoint(tmp_path)
    change(tmp_path / "config.json", tie_word_embeddings=False)
    assert torch.equal(load_checkpoint(tmp_path).head_weight, head)


def test_equal_models_are_saved_as_equal_bytes(tmp_path):
    for name in ("first", "second"):
        save_checkpoint(tmp_path / name, tiny_decoder())
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes()


def test_chat_ends_at_the_end_of_a_turn_or_of_a_text(tmp_path):
    tokenizer = train_tokenizer(["some text"], vocabulary=300)
    save_checkpoint(tmp_path, tiny_decoder(vocabulary=tokenizer.vocabulary), tokenizer)
    stops = json.loads((tmp_path / "generation_config.json").read_text())["eos_token_id"]
    assert stops == [tokenizer.special_id("<|endoftext|>"), tokenizer.special_id("<|end|>")]


def test_weights_may_be_loaded_in_another_type(folder):
    loaded = load_checkpoint(folder, torch.bfloat16)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    assert loaded(torch.tensor([[1, 2]])).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            {"model_type": "gpt2"},
            "model_type 'gpt2' is not supported. What works: model_type llama, mistral, qwen2, ",
        ),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not supported"),
        ({"attention_bias": True}, "8 weights missing, the first is model.layers.0.self_attn.k"),
        (
            {"model_type": "qwen3"},
            "4 weights missing, the first is model.layers.0.self_attn.k_norm",
        ),
        ({"quantization_config": {"bits": 4}}, "quantization_config {'bits': 4} is not supported"),
        ({"hidden_size": None}, "hidden_size is None, not a count"),
        ({"vocab_size": 60}, "has shape (50, 32), config.json says (60, 32)"),
        ({"num_hidden_layers": 3}, "9 weights missing, the first is model.layers.2."),
        ({"num_hidden_layers": 1}, "unknown weight model.layers.1."),
        ({"num_key_value_heads": "2"}, "config.json: "),
        ({"rope_parameters": None, "rope_theta": "ten"}, "rope_theta is 'ten', not a number"),
        ({"num_attention_heads": 3}, "heads is no multiple of key_value_heads"),
    ],
)
def test_config_that_would_compute_something_else_is_refused(folder, values, problem):
    change(folder / "config.json", **values)
    with pytest.raises(DataError) as refused:
        load_checkpoint(folder)
    message = str(refused.value)
    assert problem in message
    assert str(folder) in message
    assert "\n" not in message


def damage(folder, what):
    weights = folder / "model.safetensors"
    if what == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif what == "empty":
        weights.write_bytes(b"")
    elif what == "integers":
        save_file({name: value.int() for name, value in load_file(weights).items()}, weights)
    elif what == "no weights":
        weights.unlink()
    elif what == "no config":
        (folder / "config.json").unlink()
    elif what == "config cut":
        (folder / "config.json").write_text('{"model_type": "ll')
    elif what == "config is a list":
        (folder / "config.json").write_text("[]")
    elif what == "config nested":
        (folder / "config.json").write_text("[" * 100_000)
    elif what == "no folder":
        shutil.rmtree(folder)
    elif what == "shard missing":
        weights.unlink()
        index = {"weight_map": {"model.norm.weight": "model-00001-of-00001.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        ("truncated", "model.safetensors: damaged or truncated ("),
        ("empty", "model.safetensors: damaged or truncated ("),
        ("integers", "is torch.int32. What works"),
        ("no weights", "no model.safetensors and no model.safetensors.index.json. What works"),
        ("no config", "no checkpoint here (config.json is missing)"),
        ("config cut", "config.json: not readable as JSON (Unterminated string"),
        ("config is a list", "config.json: not readable as JSON (not an object)"),
        ("config nested", "config.json: not readable as JSON (nested too deeply)"),
        ("no folder", "no such folder (config.json is missing)"),
        (
            "shard missing",
            "of-00001.safetensors: named in model.safetensors.index.json and missing",
        ),
    ],
)
def test_damaged_checkpoint_is_refused_in_one_line(folder, what, problem):
    damage(folder, what)
    with pytest.raises(DataError) as refused:
        load_checkpoint(folder)
    message = str(refused.value)
    assert problem in message
    assert "\n" not in message
