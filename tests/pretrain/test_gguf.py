"""A GGUF file, written by its own package, becomes a checkpoint of the same numbers."""

import pytest
import torch
from written_gguf import model, vocabulary, write

from volano.core.errors import DataError
from volano.core.origin import origin_of
from volano.core.records import Message
from volano.core.step import Context
from volano.model.huggingface import load_checkpoint
from volano.pretrain.gguf import unpack_gguf
from volano.pretrain.section import ImportSection
from volano.pretrain.step import IMPORT
from volano.text.chat import encode_prompt
from volano.text.tokenizer import Tokenizer

gguf = pytest.importorskip("gguf")


def imported(path, out):
    out.mkdir()
    section = ImportSection.of(f"gguf:{path}")
    context = Context(out, out / "scratch", seed=0, silent=True, listing=IMPORT.scan(section))
    IMPORT.run(section, {}, context)
    return context


SHAPES = [
    ("llama", {}),
    ("llama", {"tied": False, "rope_theta": 500_000.0}),
    ("qwen2", {"attention_bias": "inputs"}),
    ("qwen3", {"qk_norm": True, "head_width": 16}),
]


@pytest.mark.parametrize(("architecture", "shape"), SHAPES)
def test_the_logits_are_those_of_the_model_that_was_written(tmp_path, architecture, shape):
    made = model(**shape)
    context = imported(
        write(tmp_path / "m.gguf", made, architecture=architecture), tmp_path / "out"
    )
    assert load_checkpoint(tmp_path / "out").config.family == architecture
    tokens = torch.randint(0, len(vocabulary()), (2, 40))
    with torch.no_grad():
        torch.testing.assert_close(load_checkpoint(tmp_path / "out")(tokens), made(tokens))
    assert context.bill["added_tokens"] == 0


def test_name_and_licence_of_the_file_stay_beside_the_model(tmp_path):
    path = write(tmp_path / "m.gguf", model(), name="Little", license="cc-by-nc-4.0")
    imported(path, tmp_path / "out")
    origin = {"file": "m.gguf", "name": "Little", "licence": "cc-by-nc-4.0"}
    assert origin_of(tmp_path / "out") == origin
    imported(write(tmp_path / "n.gguf", model()), tmp_path / "silent")
    assert origin_of(tmp_path / "silent") == {"file": "n.gguf", "licence": None}


def test_unpacking_shows_a_bar(tmp_path, capsys):
    path = write(tmp_path / "m.gguf", model())
    unpack_gguf(path, tmp_path / "out", Context(tmp_path, tmp_path / "scratch", seed=0))
    assert "unpack" in capsys.readouterr().err


def test_weights_of_eight_bits_are_those_that_were_kept(tmp_path):
    made = model()
    imported(write(tmp_path / "m.gguf", made, quantised=True), tmp_path / "out")
    loaded = load_checkpoint(tmp_path / "out")
    for name, value in made.state_dict().items():
        rounded = loaded.state_dict()[name]
        assert (rounded - value).abs().max() <= value.abs().max() / 127
    assert not torch.equal(loaded.head_weight, made.head_weight)


def test_transformers_reads_the_same_logits(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    imported(write(tmp_path / "m.gguf", model(), quantised=True), tmp_path / "out")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="m.gguf", dtype=torch.float32
    )
    tokens = torch.randint(0, len(vocabulary()), (2, 40))
    with torch.no_grad():
        mine = load_checkpoint(tmp_path / "out")(tokens)
        torch.testing.assert_close(mine, theirs(tokens).logits, rtol=0, atol=1e-4)


def test_the_tokenizer_splits_as_the_file_says_and_keeps_the_chat(tmp_path):
    made = model()
    imported(write(tmp_path / "digits.gguf", made), tmp_path / "digits")
    imported(write(tmp_path / "whole.gguf", made, tokenizer_pre="gpt-2"), tmp_path / "whole")
    digits, whole = (Tokenizer.load(tmp_path / name) for name in ("digits", "whole"))
    assert [len(each.encode("on 42")) for each in (digits, whole)] == [4, 3]
    assert [len(each.encode("on42")) for each in (digits, whole)] == [3, 2]
    assert digits.decode(digits.encode("on 42 é")) == "on 42 é"
    prompt = encode_prompt(digits, [Message("user", "on")])
    assert prompt[0] == digits.special_id("<|im_start|>")
    assert digits.stop_ids == {0, 2}


@pytest.mark.parametrize(
    ("pre", "pieces", "composes"),
    [
        ("qwen2", {"42": 2, "4242": 4, "on": 2}, True),
        # Digits fall in threes, and a whole piece that is a token needs no merge.
        ("llama3", {"42": 1, "4242": 3, "on": 1}, False),
        ("llama-bpe", {"42": 1, "4242": 3, "on": 1}, False),
        ("gpt-2", {"42": 1, "4242": 2, "on": 2}, False),
    ],
)
def test_each_way_of_splitting_is_the_one_named(tmp_path, pre, pieces, composes):
    path = write(tmp_path / "m.gguf", model(), tokenizer_pre=pre, token_merges=["4 2"])
    imported(path, tmp_path / "out")
    found = Tokenizer.load(tmp_path / "out")
    assert {text: len(found.encode(text)) for text in pieces} == pieces
    assert (found.encode("e\u0301") == found.encode("\u00e9")) is composes


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"architecture": "gemma"}, "general.architecture 'gemma' is not supported"),
        ({"tokenizer_model": "llama"}, "tokenizer.ggml.model 'llama' is not supported"),
        ({"tokenizer_pre": "viking"}, "tokenizer.ggml.pre 'viking' is not supported"),
        ({"rope_dimension_count": 4}, "4 of 8 numbers of a head turn"),
        ({"without": ["block_count"]}, "llama.block_count is missing"),
        ({"rope_scaling_type": "linear"}, "scaled rotary positions"),
        ({"head_count": 0}, "llama.attention.head_count is 0, not 1 to"),
        ({"head_count": [4, 4]}, r"llama.attention.head_count is \[4, 4\], not a count"),
        ({"head_count": 3}, "heads is no multiple of key_value_heads"),
        ({"head_count": 6, "head_count_kv": 2}, r"attn_q.weight has shape \(32, 32\)"),
        ({"head_count_kv": 0}, "llama.attention.head_count_kv is 0, not 1 to"),
        ({"head_count_kv": [2, 2]}, r"head_count_kv is \[2, 2\], not a count"),
        ({"head_count_kv": 4}, r"attn_k.weight has shape \(16, 32\), its heads make 32 rows"),
        ({"key_length": 7}, "head width is odd"),
        ({"value_length": 4}, "4 of 8 numbers of a head are values"),
        ({"block_count": 10**9}, "llama.block_count is 1,000,000,000, not 1 to"),
        ({"layer_norm_rms_eps": float("nan")}, "layer_norm_rms_epsilon is nan, not a number"),
        ({"rope_freq_base": float("nan")}, "rope.freq_base is nan, not a number"),
        ({"token_types": [3] * 3}, "token_type does not name each of 261 tokens"),
        ({"token_merges": ["42"]}, "merge '42' is not of two tokens"),
        ({"token_merges": ["é é"]}, "merge 'é é' is not of two tokens"),
        ({"token_list": [*vocabulary()[:-1], "4"]}, "are both '4'"),
        ({"expert_count": 8}, "llama.expert_count 8 is not supported"),
        ({"sliding_window": 4}, "llama.attention.sliding_window 4 is not supported"),
        ({"logit_scale": 2.0}, "llama.logit_scale 2.0 is not supported"),
        ({"attention_scale": 0.5}, "llama.attention.scale 0.5 is not supported"),
    ],
)
def test_what_would_compute_something_else_is_refused(tmp_path, changes, problem):
    if "rope_scaling_type" in changes:
        changes = {"rope_scaling_type": gguf.RopeScalingType.LINEAR}
    path = write(tmp_path / "m.gguf", model(), **changes)
    with pytest.raises(DataError, match=problem) as raised:
        imported(path, tmp_path / "out")
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("kept", [0, 3, 300, 20_000])
def test_a_file_that_was_cut_off_is_refused(tmp_path, kept):
    whole = write(tmp_path / "m.gguf", model()).read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[:kept])
    with pytest.raises(DataError, match=r"cut\.gguf: damaged, or no GGUF file"):
        imported(cut, tmp_path / "out")


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    for path, problem in ((tmp_path, "not a file"), (tmp_path / "none.gguf", "no such file")):
        with pytest.raises(DataError, match=problem):
            IMPORT.scan(ImportSection.of(f"gguf:{path}"))
