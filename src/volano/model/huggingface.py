"""Checkpoints as Hugging Face keeps them: config.json beside safetensors, in the Llama layout.

What is saved here loads in transformers, vLLM and llama.cpp unconverted; what transformers saves
for a Llama loads here. Anything that would load and then compute something else is refused.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import Tensor

from volano.core.errors import DataError, RecipeError
from volano.core.files import atomic_path, write_json
from volano.model.attention import rotation_table
from volano.model.decoder import Decoder, DecoderConfig
from volano.text.chat import END
from volano.text.tokenizer import Tokenizer

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
WORKS = (
    "What works: model_type llama (LlamaForCausalLM) with hidden_act silu, no biases, rope_type "
    "default, weights in safetensors of float32, float16 or bfloat16, whole or in shards."
)
# The keys of config.json that hold a count, and what the decoder calls it.
COUNTS = {
    "vocab_size": "vocabulary",
    "hidden_size": "width",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "intermediate_size": "feed_forward",
    "max_position_embeddings": "context",
}


def save_checkpoint(folder: Path, model: Decoder, tokenizer: Tokenizer | None = None) -> None:
    """Write config, generation config and weights, and the tokenizer where one is given.

    Equal weights give equal bytes. config.json comes last, so a folder that has it is whole.
    """
    ids: dict[str, Any] = {}
    if tokenizer is not None:
        tokenizer.save(folder)
        end = tokenizer.end_of_text_id
        # A chat turn ends with one, a document with the other; servers stop at either.
        stops = sorted({end, tokenizer.special_id(END)})
        ids = {"bos_token_id": end, "eos_token_id": stops, "pad_token_id": end}
    weights = {
        name: value.detach().cpu().contiguous()  # state_dict names a tied embedding once
        for name, value in model.state_dict().items()
    }
    with atomic_path(folder / WEIGHTS_FILE) as unfinished:
        # Not save_file: on a full disk it raises an error of its own that names no cause.
        unfinished.write_bytes(serialized(weights, metadata={"format": "pt"}))
    write_json(folder / "generation_config.json", ids | {"do_sample": False})
    write_json(folder / CONFIG_FILE, _described(model) | ids)


def load_checkpoint(folder: Path, dtype: torch.dtype = torch.float32) -> Decoder:
    """The model in a folder, its parameters in `dtype`. Raises DataError where it will not do."""
    config = read_config(folder)
    with torch.device("meta"):
        model = Decoder(config)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found: dict[str, Tensor] = {}
    for path, name, value in _tensors(folder):
        if name.endswith("rotary_emb.inv_freq") or (config.tied and name == "lm_head.weight"):
            continue  # old checkpoints store what follows from the config
        if name not in expected:
            raise _refused(f"unknown weight {name}", path, WORKS)
        if tuple(value.shape) != expected[name]:
            what = f"{name} has shape {tuple(value.shape)}, {CONFIG_FILE} says {expected[name]}"
            raise _refused(what, path, "The two files are not of one checkpoint: copy it again.")
        if not value.is_floating_point():
            raise _refused(f"{name} is {value.dtype}", path, WORKS)
        found[name] = value.to(dtype)
    missing = sorted(expected.keys() - found.keys())
    if missing:
        what = f"{len(missing)} weights missing, the first is {missing[0]}"
        raise _refused(what, folder, "The checkpoint is incomplete: copy or build it again.")
    model.load_state_dict(found, assign=True)
    model.rotation = rotation_table(config.context, config.head_width, config.rope_theta)
    return model.requires_grad_(True).compute_in(dtype)


def read_config(folder: Path) -> DecoderConfig:
    """The shape that config.json describes. Raises DataError unless the decoder computes it."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        problem = "no checkpoint here" if folder.is_dir() else "no such folder"
        raise _refused(f"{problem} ({CONFIG_FILE} is missing)", folder, "Name its folder.")
    config = _read_object(path)
    if config.get("model_type") != "llama":
        raise _refused(f"model_type {config.get('model_type')!r} is not supported", path, WORKS)
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise _refused(f"rope parameters {rope!r} are not supported", path, WORKS)
    kind = rope.get("rope_type", rope.get("type", "default"))
    for key, value, plain in (
        ("rope_type", kind, "default"),
        ("hidden_act", config.get("hidden_act", "silu"), "silu"),
        ("attention_bias", config.get("attention_bias") or False, False),
        ("mlp_bias", config.get("mlp_bias") or False, False),
        ("quantization_config", config.get("quantization_config"), None),
        ("pretraining_tp", config.get("pretraining_tp") or 1, 1),
    ):
        if value != plain:
            raise _refused(f"{key} {value!r} is not supported", path, WORKS)
    for key in COUNTS:
        if not isinstance(config.get(key), int) or config[key] < 1:
            what = f"{key} is {config.get(key)!r}, not a count"
            raise _refused(what, path, "The file is damaged: copy the checkpoint again.")
    try:
        return DecoderConfig(
            **{ours: config[key] for key, ours in COUNTS.items()},
            key_value_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
            rope_theta=float(rope.get("rope_theta", config.get("rope_theta", 10_000.0))),
            norm_epsilon=float(config.get("rms_norm_eps", 1e-6)),
            tied=bool(config.get("tie_word_embeddings", False)),
            head_width=config.get("head_dim") or 0,
        )
    except RecipeError as failure:
        problem = failure.what
    except (TypeError, ValueError) as failure:  # a word where a number belongs
        problem = str(failure)
    raise _refused(problem, path, "The file is damaged: copy the checkpoint again.")


def _described(model: Decoder) -> dict[str, Any]:
    config = model.config
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **{key: getattr(config, ours) for key, ours in COUNTS.items()},
        "num_key_value_heads": config.key_value_heads,
        "head_dim": config.head_width,
        "rms_norm_eps": config.norm_epsilon,
        # transformers 4, vLLM and llama.cpp read the first, transformers 5 the second.
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_theta": config.rope_theta, "rope_type": "default"},
        "tie_word_embeddings": config.tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": str(model.head_weight.dtype).removeprefix("torch."),
    }


def _tensors(folder: Path) -> Iterator[tuple[Path, str, Tensor]]:
    for path in _weight_files(folder):
        try:
            with safe_open(path, framework="pt") as weights:
                for name in weights.keys():  # noqa: SIM118  (not a dict)
                    yield path, name, weights.get_tensor(name)
        except (SafetensorError, OSError) as failure:
            problem = str(failure).splitlines()[0]
            raise _refused(
                f"damaged or truncated ({problem})", path, "Copy or build the checkpoint again."
            ) from None


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    index = folder / INDEX_FILE
    if not index.is_file():
        raise _refused(f"no {WEIGHTS_FILE} and no {INDEX_FILE}", folder, WORKS)
    names = _read_object(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(n, str) for n in names.values()):
        raise _refused("no weight_map", index, "Copy the checkpoint again.")
    files = [folder / name for name in sorted(set(names.values()))]
    for path in files:
        if path.parent != folder or not path.is_file():
            raise _refused(f"named in {INDEX_FILE} and missing", path, "Copy it again.")
    return files


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
        if isinstance(value, dict):
            return value
        problem = "not an object"
    except ValueError as failure:
        problem = str(failure)
    raise _refused(f"not readable as JSON ({problem})", path, "Copy the checkpoint again.")


def _refused(what: str, where: Path, remedy: str) -> DataError:
    return DataError(what, str(where), remedy)
