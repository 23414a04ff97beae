"""The same weights compute the same in transformers, whichever side wrote them."""

import pytest
import torch

transformers = pytest.importorskip("transformers")

from volano.model.decoder import Decoder, DecoderConfig, initialise  # noqa: E402
from volano.model.generate import generate  # noqa: E402
from volano.model.huggingface import load_checkpoint, save_checkpoint  # noqa: E402
from volano.text.tokenizer import train_tokenizer  # noqa: E402

SHAPES = [
    {"heads": 4, "key_value_heads": 4, "tied": True},
    {"heads": 4, "key_value_heads": 2, "tied": False, "rope_theta": 500_000.0},
    {"heads": 2, "key_value_heads": 1, "tied": True, "head_width": 24, "norm_epsilon": 1e-6},
]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def ours(vocabulary=70, **shape):
    defaults = {"width": 32, "layers": 3, "feed_forward": 56, "context": 48}
    model = Decoder(DecoderConfig(vocabulary=vocabulary, **defaults | shape))
    initialise(model, seed=0)
    disturb(model)
    return model


def disturb(model):
    """Far from uniform, norms away from one: a difference would show."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5, generator=generator)
            else:
                parameter.normal_(0, 0.2, generator=generator)


def tokens(rows=3, length=40):
    return torch.randint(0, 70, (rows, length), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def assert_same_logits(mine, theirs):
    logits = mine(tokens())
    assert logits.std() > 0.1
    torch.testing.assert_close(logits, theirs(tokens()).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_our_checkpoint_gives_the_same_logits_and_greedy_tokens_in_transformers(shape, tmp_path):
    model = ours(**shape)
    save_checkpoint(tmp_path, model)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert_same_logits(model, theirs)
    prompts = [[1, 2, 3], [4], [9, 8, 7, 6, 5]]
    for prompt, made in zip(prompts, generate(model, prompts, max_new_tokens=20), strict=True):
        expected = theirs.generate(
            torch.tensor([prompt]), max_new_tokens=20, do_sample=False, pad_token_id=0
        )
        assert made.tokens == expected[0, len(prompt) :].tolist()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shard_size", ["1GB", "20KB"])
def test_checkpoint_of_transformers_gives_the_same_logits_here(tied, shard_size, tmp_path):
    config = transformers.LlamaConfig(
        vocab_size=70,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=56,
        max_position_embeddings=48,
        rms_norm_eps=1e-6,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=None,
    )
    theirs = transformers.LlamaForCausalLM(config).eval()
    disturb(theirs)
    theirs.save_pretrained(tmp_path, max_shard_size=shard_size)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard_size == "20KB")
    assert_same_logits(load_checkpoint(tmp_path), theirs)


def test_padded_batch_of_transformers_gives_our_greedy_tokens(tmp_path):
    tokenizer = train_tokenizer(["def read_csv(path): return path"] * 3, vocabulary=290)
    model = ours(vocabulary=tokenizer.vocabulary, **SHAPES[0])
    save_checkpoint(tmp_path, model, tokenizer)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path, padding_side="left")
    texts = ["def read", "return path: csv", "path"]
    batch = reader(texts, padding=True, return_tensors="pt")
    expected = theirs.generate(**batch, max_new_tokens=12, do_sample=False)
    made = generate(
        model,
        [tokenizer.encode(text) for text in texts],
        max_new_tokens=12,
        stop_ids=theirs.generation_config.eos_token_id,
    )
    begin = batch["input_ids"].shape[1]
    for row, each in zip(expected, made, strict=True):
        assert row[begin : begin + len(each.tokens)].tolist() == each.tokens
