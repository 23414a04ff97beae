"""Each family that is read: the same weights compute the same in transformers, both ways."""

import json
import threading

import pytest
import torch

transformers = pytest.importorskip("transformers")

from volano.model.generate import generate  # noqa: E402
from volano.model.huggingface import load_checkpoint, save_checkpoint  # noqa: E402
from volano.model.slots import SlotEngine  # noqa: E402

VOCABULARY, CONTEXT, ROW = 70, 64, 60
# Contexts of 16 that were stretched to 64; rows are longer than the one and the windows.
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
YARN = {"beta_fast": 4.0, "mscale": 0.7, "mscale_all_dim": 0.3, "truncate": False}


def rope(kind, **stated):
    original = {"original_max_position_embeddings": 16} if kind in ("llama3", "yarn") else {}
    factor = {"factor": 4.0}
    return {"rope_type": kind, "rope_theta": 1000.0, **original, **factor, **stated}


CASES = {
    "llama": ("Llama", {}),
    "llama: biases, llama3": (
        "Llama",
        {"attention_bias": True, "mlp_bias": True, "rope_parameters": rope("llama3", **LLAMA3)},
    ),
    "llama: linear, tied": (
        "Llama",
        {"tie_word_embeddings": True, "rope_parameters": rope("linear")},
    ),
    "llama: dynamic": ("Llama", {"rope_parameters": rope("dynamic")}),
    "mistral: window": ("Mistral", {"sliding_window": 7, "head_dim": 12}),
    "mistral: no window": ("Mistral", {"sliding_window": None}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2: window, yarn": (
        "Qwen2",
        {
            "use_sliding_window": True,
            "sliding_window": 7,
            "max_window_layers": 1,
            "rope_parameters": rope("yarn"),
        },
    ),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "qwen3: biases, window, yarn": (
        "Qwen3",
        {
            "head_dim": 16,
            "attention_bias": True,
            "use_sliding_window": True,
            "sliding_window": 5,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
            "rope_parameters": rope("yarn", **YARN),
        },
    ),
    "smollm3": ("SmolLM3", {"num_hidden_layers": 5}),
    "smollm3: biases, window": (
        "SmolLM3",
        {
            "attention_bias": True,
            "mlp_bias": True,
            "use_sliding_window": True,
            "sliding_window": 6,
            "no_rope_layers": [1, 0, 1],
        },
    ),
}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def random_model(case):
    """Biases away from zero, norms away from one: one left out would show."""
    family, stated = CASES[case]
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 56,
        "max_position_embeddings": CONTEXT,
    }
    no_ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    config = getattr(transformers, f"{family}Config")(**sizes | no_ids | stated)
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                parameter.normal_(0, 0.5, generator=generator)
            elif parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5, generator=generator)
            else:
                parameter.normal_(0, 0.2, generator=generator)
    return model


@pytest.fixture(params=list(CASES))
def pair(request, tmp_path):
    """A model of transformers, and its files as this house reads them."""
    theirs = random_model(request.param)
    theirs.save_pretrained(tmp_path / "theirs")
    return theirs, load_checkpoint(tmp_path / "theirs")


def tokens(rows, length):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, VOCABULARY, (rows, length), generator=generator)


@torch.no_grad()
def assert_same_logits(mine, theirs):
    expected = theirs(tokens(3, ROW)).logits
    assert expected.std() > 0.5
    torch.testing.assert_close(mine(tokens(3, ROW)), expected, rtol=0, atol=1e-4)


def test_logits_are_those_of_transformers(pair):
    theirs, mine = pair
    assert_same_logits(mine, theirs)


def test_what_was_read_is_written_as_the_same_family(pair, tmp_path):
    theirs, mine = pair
    save_checkpoint(tmp_path / "mine", mine)
    back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "mine", dtype=torch.float32)
    assert type(back) is type(theirs)
    assert_same_logits(mine, back)
    assert load_checkpoint(tmp_path / "mine").config == mine.config


def test_file_of_transformers_4_is_read_as_one_of_5(pair, tmp_path):
    theirs, mine = pair
    save_checkpoint(tmp_path / "older", mine)
    path = tmp_path / "older" / "config.json"
    stated = json.loads(path.read_text())
    del stated["rope_parameters"]  # rope_theta and rope_scaling stand beside it
    path.write_text(json.dumps(stated))
    assert_same_logits(load_checkpoint(tmp_path / "older"), theirs)
    older = transformers.AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32)
    assert_same_logits(mine, older)


def test_greedy_tokens_are_those_of_transformers(pair):
    theirs, mine = pair
    prompts = [tokens(3, 12)[row, :length].tolist() for row, length in enumerate((12, 1, 5))]
    expected = []
    for prompt in prompts:
        made = theirs.generate(
            torch.tensor([prompt]), max_new_tokens=30, do_sample=False, pad_token_id=0
        )
        expected.append(made[0, len(prompt) :].tolist())
    assert [each.tokens for each in generate(mine, prompts, max_new_tokens=30)] == expected
    assert of_slots(mine, prompts) == expected


def of_slots(model, prompts):
    engine, found, ended = SlotEngine(lambda: model, slots=2), [], []
    for prompt in prompts:
        answer, end = [], threading.Event()
        engine.submit(
            prompt,
            max_new_tokens=30,
            on_token=lambda token, answer=answer: answer.append(token.id),
            on_end=lambda _, end=end: end.set(),
        )
        found.append(answer)
        ended.append(end)
    assert all(end.wait(60) for end in ended)
    engine.close()
    return found


def test_packed_documents_are_those_of_transformers_alone(pair):
    theirs, mine = pair
    row = tokens(1, ROW)
    document_BT = torch.tensor([[3] * 25 + [8] * (ROW - 25)])
    with torch.no_grad():
        packed = mine(row, document_BT)
        for part in (slice(0, 25), slice(25, ROW)):
            alone = theirs(row[:, part]).logits
            torch.testing.assert_close(packed[:, part], alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", ["mistral: window", "qwen2", "qwen3", "smollm3"])
def test_shards_are_read(case, tmp_path):
    theirs = random_model(case)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    assert_same_logits(load_checkpoint(tmp_path), theirs)
