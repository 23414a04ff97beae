"""GGUF, the file of llama.cpp: unpacked into the folder of a Hugging Face checkpoint.

Weights come out in float32, whatever they were quantised to: what rounding took is gone, and
training needs the rest in full. The folder then loads as any other (model/huggingface.py), which
also decides whether the decoder computes what its config says. Read with the `gguf` package and not
through transformers, whose reader forgets how the tokenizer splits text before it merges: SmolLM2
takes digits one by one, and 2024 would be one token that the model has never seen.

Sources: the GGUF specification (ggml-org/ggml, docs/gguf.md); llama.cpp, src/llama-vocab.cpp, for
what the names of pre-tokenizers mean.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from volano.core.errors import DataError, MissingExtra
from volano.core.files import write_json
from volano.core.step import Context
from volano.model.families import CONFIG_FILE, MOST, read_family
from volano.model.huggingface import WEIGHTS_FILE
from volano.model.stated import number, whole
from volano.text.tokenizer import CONFIG_FILE as TOKENIZER_CONFIG_FILE
from volano.text.tokenizer import TOKENIZER_FILE

Array = npt.NDArray[Any]
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
WORKS = (
    f"What works: {', '.join(ARCHITECTURES)} with byte-level BPE (tokenizer.ggml.model gpt2). "
    "Import the model's Hugging Face checkpoint instead: hf:PATH."
)
OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
INNER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# Metadata of other architectures that llama.cpp applies, and the values at which it does nothing.
FOREIGN: dict[str, tuple[Any, ...]] = {
    "expert_count": (0,),
    "logit_scale": (0, 1),
    "residual_scale": (0, 1),
    "embedding_scale": (0, 1),
    "attention.scale": (0,),
    "attention.clamp_kqv": (0,),
    "attention.max_alibi_bias": (0,),
    "attn_logit_softcapping": (0,),
    "final_logit_softcapping": (0,),
}
STATED = {
    "name": "general.name",
    "organization": "general.organization",
    "licence": "general.license",
    "source": "general.source.url",
}
SPECIAL, USER_DEFINED = 3, 4  # of tokenizer.ggml.token_type
# How a text falls into pieces, as the tokenizer.json of these models has it.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def unpack_gguf(path: Path, folder: Path, context: Context) -> dict[str, Any]:
    """Write config.json, weights and tokenizer into `folder`, under a bar of `context`.

    What the file says of its model: name, organization, licence, source.

    Raises DataError for a file that is damaged or of another kind, MissingExtra without `gguf`.
    """
    try:
        import gguf
    except ImportError:
        raise MissingExtra(
            "gguf is not installed", str(path), "Run pip install 'volano[gguf]'."
        ) from None
    try:
        reader = gguf.GGUFReader(path)
        values = {name: field.contents() for name, field in reader.fields.items()}
    except Exception as failure:  # the reader trusts every number in the file
        problem = f"{type(failure).__name__} {failure}".splitlines()[0]
        raise _refused(f"damaged, or no GGUF file ({problem})", path, "Copy it again.") from None
    read = _Values(values, path)
    config = _config(read, {tensor.name for tensor in reader.tensors})
    tokenizer = _tokenizer(read)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {}
    with context.progress("unpack", len(reader.tensors), "tensors") as bar:
        for tensor in reader.tensors:
            bar.advance()
            name = _name(tensor.name)
            if name is None:
                continue
            try:
                value = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            except (NotImplementedError, ValueError) as failure:
                what = f"{tensor.name} cannot be unpacked ({failure})"
                raise _refused(what, path, WORKS) from None
            value = _as_hugging_face(tensor.name, value, config, path)
            weights[name] = torch.from_numpy(np.array(value, np.float32, order="C"))
    save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    tokenizer.save(str(folder / TOKENIZER_FILE))
    write_json(folder / TOKENIZER_CONFIG_FILE, _tokenizer_config(read))
    write_json(folder / CONFIG_FILE, config)
    return {name: read.get(key) for name, key in STATED.items()}


class _Values:
    """The file's key-value pairs; `take` says which is missing."""

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        self.path, self._values = path, values
        self.architecture = str(values.get("general.architecture"))

    def get(self, name: str, otherwise: Any = None) -> Any:
        """A value, where ARCH stands for the architecture."""
        return self._values.get(name.replace("ARCH", self.architecture), otherwise)

    def take(self, name: str) -> Any:
        found = self.get(name)
        if found is None:
            missing = name.replace("ARCH", self.architecture)
            raise _refused(f"{missing} is missing", self.path, "Copy it again.")
        return found

    def count(self, name: str, most: str, otherwise: int | None = None) -> int:
        """A count, at most what config.json may say of `most`."""
        value = self.take(name) if otherwise is None else self.get(name, otherwise)
        return whole(value, name.replace("ARCH", self.architecture), self.path, most=MOST[most])

    def strings(self, name: str) -> list[str]:
        found = self.take(name)
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise _refused(f"{name} is no list of strings", self.path, "Copy it again.")
        return found


def _config(read: _Values, tensors: set[str]) -> dict[str, Any]:
    architecture = read.architecture
    if architecture not in ARCHITECTURES:
        raise _refused(f"general.architecture '{architecture}' is not supported", read.path, WORKS)
    for key, plain in FOREIGN.items():
        value = read.get(f"ARCH.{key}", 0)
        if value not in plain:
            what = f"{architecture}.{key} {value!r} is not supported"
            raise _refused(what, read.path, WORKS)
    context = read.count("ARCH.context_length", "max_position_embeddings")
    window = read.get("ARCH.attention.sliding_window", 0)
    if window and (not isinstance(window, int) or window < context):
        what = f"{architecture}.attention.sliding_window {window!r} is not supported"
        raise _refused(what, read.path, WORKS)
    width = read.count("ARCH.embedding_length", "hidden_size")
    heads = read.count("ARCH.attention.head_count", "num_attention_heads")
    head_width = read.count("ARCH.attention.key_length", "head_dim", max(1, width // heads))
    for key in ("rope.dimension_count", "attention.value_length"):
        stated = read.get(f"ARCH.{key}", head_width)
        if stated != head_width:
            verb = "turn" if key.startswith("rope") else "are values"
            raise _refused(f"{stated} of {head_width} numbers of a head {verb}", read.path, WORKS)
    scaling = read.get("ARCH.rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in tensors:
        what = f"scaled rotary positions ({scaling if scaling != 'none' else 'rope_freqs'})"
        raise _refused(f"{what} are not supported from GGUF", read.path, WORKS)
    epsilon, theta = "ARCH.attention.layer_norm_rms_epsilon", "ARCH.rope.freq_base"
    config = {
        "architectures": [ARCHITECTURES[architecture]],
        "model_type": architecture,
        "vocab_size": len(read.strings("tokenizer.ggml.tokens")),
        "hidden_size": width,
        "num_hidden_layers": read.count("ARCH.block_count", "num_hidden_layers"),
        "num_attention_heads": heads,
        "num_key_value_heads": read.count(
            "ARCH.attention.head_count_kv", "num_key_value_heads", heads
        ),
        "head_dim": head_width,
        "intermediate_size": read.count("ARCH.feed_forward_length", "intermediate_size"),
        "max_position_embeddings": context,
        "rms_norm_eps": number(read.take(epsilon), "layer_norm_rms_epsilon", read.path, below=1.0),
        "rope_theta": number(read.get(theta, 10_000.0), "rope.freq_base", read.path, above=1.0),
        "tie_word_embeddings": "output.weight" not in tensors,
        "hidden_act": "silu",
    }
    read_family(config, read.path)  # refuses what does not go together
    return config


def _name(name: str) -> str | None:
    """A weight's name in Hugging Face; None for what follows from the config."""
    stem, _, kind = name.rpartition(".")
    if stem in OUTER:
        return f"{OUTER[stem]}.{kind}"
    block, _, rest = stem.partition(".")[2].partition(".")
    if stem.startswith("blk.") and rest in INNER:
        return f"model.layers.{block}.{INNER[rest]}.{kind}"
    return None if stem == "rope_freqs" else name


def _as_hugging_face(name: str, value: Array, config: Mapping[str, Any], path: Path) -> Array:
    """The weight in the order of rows that Hugging Face has."""
    heads = {"attn_q.": "num_attention_heads", "attn_k.": "num_key_value_heads"}
    for part, key in heads.items():
        if part in name and config["model_type"] == "llama":
            rows = config[key] * config["head_dim"]
            if len(value) != rows:
                what = f"{name} has shape {value.shape}, its heads make {rows} rows"
                raise _refused(what, path, "Copy it again.")
            return _halves(value, config[key])
    return value


def _halves(weight: Array, heads: int) -> Array:
    """llama.cpp pairs neighbouring rows of a Llama's head for rotation, Hugging Face its halves."""
    paired = weight.reshape(heads, -1, 2, *weight.shape[1:])
    return paired.swapaxes(1, 2).reshape(weight.shape)


def _gpt2() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def _digits_alone() -> Any:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _gpt2()])


def _pieces(pattern: str) -> Callable[[], Any]:
    def made() -> Any:
        return pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )

    return made


PRE_TOKENIZERS = {
    "gpt-2": _gpt2,
    "smollm": _digits_alone,
    "llama-bpe": _pieces(LLAMA3),
    "llama3": _pieces(LLAMA3),
    "qwen2": _pieces(QWEN2),
}


def _tokenizer(read: _Values) -> tokenizers.Tokenizer:
    model, pre = read.take("tokenizer.ggml.model"), read.get("tokenizer.ggml.pre", "")
    if model != "gpt2":
        raise _refused(f"tokenizer.ggml.model '{model}' is not supported", read.path, WORKS)
    if pre not in PRE_TOKENIZERS:
        known = f"What works: {', '.join(PRE_TOKENIZERS)}."
        raise _refused(f"tokenizer.ggml.pre '{pre}' is not supported", read.path, known)
    tokens = read.strings("tokenizer.ggml.tokens")
    found = tokenizers.Tokenizer(
        models.BPE(
            vocab=_vocabulary(tokens, read.path),
            merges=_merges(read.strings("tokenizer.ggml.merges"), set(tokens), read.path),
            ignore_merges=pre in ("llama-bpe", "llama3"),
        )
    )
    if pre == "qwen2":
        found.normalizer = normalizers.NFC()
    found.pre_tokenizer = PRE_TOKENIZERS[pre]()
    found.decoder = decoders.ByteLevel()
    kinds = read.take("tokenizer.ggml.token_type")
    if not isinstance(kinds, list) or len(kinds) != len(tokens):
        what = f"tokenizer.ggml.token_type does not name each of {len(tokens):,} tokens"
        raise _refused(what, read.path, "Copy it again.")
    for special in (True, False):
        wanted = SPECIAL if special else USER_DEFINED
        named = [
            AddedToken(token, special=special, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind == wanted
        ]
        (found.add_special_tokens if special else found.add_tokens)(named)
    return found


def _vocabulary(tokens: list[str], path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for place, token in enumerate(tokens):
        if found.setdefault(token, place) != place:
            what = f"tokens {found[token]} and {place} are both {token!r}"
            raise _refused(what, path, "Copy it again.")
    return found


def _merges(lines: list[str], tokens: set[str], path: Path) -> list[tuple[str, str]]:
    found = []
    for line in lines:
        left, _, right = line.partition(" ")
        if not right or not {left, right, left + right} <= tokens:
            raise _refused(f"merge {line!r} is not of two tokens", path, "Copy it again.")
        found.append((left, right))
    return found


def _tokenizer_config(read: _Values) -> dict[str, Any]:
    tokens = read.take("tokenizer.ggml.tokens")
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    names = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}
    for name, theirs in names.items():
        place = read.get(f"tokenizer.ggml.{theirs}_token_id")
        if place is not None and 0 <= place < len(tokens):
            config[name] = tokens[place]
    template = read.get("tokenizer.chat_template")
    return config if template is None else config | {"chat_template": template}


def _refused(what: str, path: Path, remedy: str) -> DataError:
    return DataError(what, str(path), remedy)
