"""config.json of the families that the decoder computes: read into its config, and written from it.

Read are the spellings of transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters), and
what a file leaves out takes the default of its family there. Written are both. Whatever would load
and then compute something else is refused.

Sources: configuration_*.py and modeling_rope_utils.py of transformers 5.24.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from volano.core.errors import DataError, RecipeError
from volano.model.config import FAMILIES, AttentionBias, DecoderConfig, RopeKind, RopeScaling
from volano.model.stated import number, read_object, switch, whole

CONFIG_FILE = "config.json"
WORKS = (
    f"What works: model_type {', '.join(FAMILIES)} (SmolLM and SmolLM2 are llama) as a causal "
    "language model with hidden_act silu, rope_type default, linear, dynamic, llama3 or yarn, "
    "weights in safetensors of float32, float16 or bfloat16, whole or in shards."
)
DAMAGED = "The file is damaged: copy the checkpoint again."
# The keys of config.json that hold a count, and what the decoder calls it.
COUNTS = {
    "vocab_size": "vocabulary",
    "hidden_size": "width",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "intermediate_size": "feed_forward",
    "max_position_embeddings": "context",
}
# The largest of each that is taken for meant, beyond any that these families have been trained in.
MOST = {
    "vocab_size": 1 << 24,
    "hidden_size": 1 << 20,
    "num_hidden_layers": 1 << 12,
    "num_attention_heads": 1 << 14,
    "num_key_value_heads": 1 << 14,
    "head_dim": 1 << 10,
    "intermediate_size": 1 << 22,
    "max_position_embeddings": 1 << 23,  # the rotation's table has a row for each
    "sliding_window": 1 << 23,
}
# What transformers takes where the file says nothing; a null is not nothing.
DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"num_key_value_heads": 8, "sliding_window": 4096},
    "qwen2": {"num_key_value_heads": 32, "sliding_window": 4096, "max_window_layers": 28},
    "qwen3": {
        "num_key_value_heads": 32,
        "head_dim": 128,
        "sliding_window": 4096,
        "max_window_layers": 28,
    },
    "smollm3": {
        "num_key_value_heads": 4,
        "rope_theta": 2_000_000.0,
        "tie_word_embeddings": True,
        "no_rope_layer_interval": 4,
    },
}
# Set to anything true, these change what a model computes, in every family or in forks of them.
FOREIGN = (
    "quantization_config",
    "auto_map",
    "num_experts",
    "num_local_experts",
    "vision_config",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "attention_chunk_size",
    "attention_sinks",
)
# Keys of a RoPE scaling, and what RopeScaling calls them.
SCALING: dict[str, dict[str, str]] = {
    "default": {},
    "linear": {"factor": "factor"},
    "dynamic": {"factor": "factor"},
    "llama3": {
        "factor": "factor",
        "original_max_position_embeddings": "original_context",
        "low_freq_factor": "low_frequency_factor",
        "high_freq_factor": "high_frequency_factor",
    },
    "yarn": {
        "factor": "factor",
        "original_max_position_embeddings": "original_context",
        "beta_fast": "beta_fast",
        "beta_slow": "beta_slow",
        "attention_factor": "attention_factor",
        "mscale": "mscale",
        "mscale_all_dim": "mscale_all_dim",
        "truncate": "truncate",
    },
}
SLIDING, FULL = "sliding_attention", "full_attention"


def read_config(folder: Path) -> DecoderConfig:
    """The shape that config.json describes. Raises DataError unless the decoder computes it."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        problem = "no checkpoint here" if folder.is_dir() else "no such folder"
        raise _refused(f"{problem} ({CONFIG_FILE} is missing)", folder, "Name its folder.")
    return read_family(read_object(path), path)


def read_family(stated: Mapping[str, Any], path: Path) -> DecoderConfig:
    """The config that a config.json states. Raises DataError unless the decoder computes it."""
    family = stated.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        raise _refused(f"model_type {family!r} is not supported", path, WORKS)
    values = {**DEFAULTS[family], **stated}
    for key in FOREIGN:
        if values.get(key):
            raise _refused(f"{key} {values[key]!r} is not supported", path, WORKS)
    for key, plain in (("hidden_act", ("silu",)), ("pretraining_tp", (1, None))):
        if values.get(key, plain[0]) not in plain:
            raise _refused(f"{key} {values[key]!r} is not supported", path, WORKS)
    counts: dict[str, Any] = {ours: _count(values, key, path) for key, ours in COUNTS.items()}
    for key in ("num_key_value_heads", "head_dim"):
        if values.get(key) is not None:
            _count(values, key, path)
    theta, scaling = _rope(values, path)
    known = FAMILIES[family]
    try:
        return DecoderConfig(
            **counts,
            key_value_heads=values.get("num_key_value_heads") or values["num_attention_heads"],
            rope_theta=number(theta, "rope_theta", path, above=1.0),
            norm_epsilon=number(values.get("rms_norm_eps", 1e-6), "rms_norm_eps", path, below=1.0),
            tied=switch(values.get("tie_word_embeddings"), "tie_word_embeddings", path),
            head_width=values.get("head_dim") or 0,
            attention_bias=_attention_bias(family, values, path),
            feed_forward_bias=known.feed_forward_bias
            and switch(values.get("mlp_bias"), "mlp_bias", path),
            qk_norm=known.qk_norm,
            unrotated_layers=_unrotated_layers(family, values, path),
            rope_scaling=scaling,
            family=family,
            **_windows(family, values, path),
        )
    except RecipeError as failure:
        problem = failure.what
    raise _refused(problem, path, DAMAGED)


def describe_family(config: DecoderConfig) -> dict[str, Any]:
    """What config.json says of `config`, apart from the type of the weights."""
    family = FAMILIES[config.family]
    rope: dict[str, Any] = {"rope_theta": config.rope_theta, "rope_type": "default"}
    stated: dict[str, Any] = {
        "architectures": [family.architecture],
        "model_type": config.family,
        **{key: getattr(config, ours) for key, ours in COUNTS.items()},
        "num_key_value_heads": config.key_value_heads,
        "head_dim": config.head_width,
        "rms_norm_eps": config.norm_epsilon,
        # transformers 4, vLLM and llama.cpp read the first, transformers 5 the second.
        "rope_theta": config.rope_theta,
        "rope_parameters": rope,
        "tie_word_embeddings": config.tied,
        "hidden_act": "silu",
    }
    if config.rope_scaling is not None:
        scaling = _described_scaling(config.rope_scaling)
        rope |= scaling
        stated["rope_scaling"] = scaling
    if "all" in family.attention_bias:
        stated["attention_bias"] = config.attention_bias == "all"
    if family.feed_forward_bias:
        stated["mlp_bias"] = config.feed_forward_bias
    return stated | _described_windows(config) | _described_positions(config)


def _rope(values: Mapping[str, Any], path: Path) -> tuple[Any, RopeScaling | None]:
    """Base and scaling. Where both spellings are there, transformers 5 as well reads the older."""
    rope = values.get("rope_scaling") or values.get("rope_parameters") or {}
    if not isinstance(rope, dict):
        raise _refused(f"rope parameters {rope!r} are not supported", path, WORKS)
    kind = rope.get("rope_type", rope.get("type", "default"))
    for place in (rope, values):
        if place.get("partial_rotary_factor") not in (None, 1):
            factor = place["partial_rotary_factor"]
            raise _refused(f"partial_rotary_factor {factor!r} is not supported", path, WORKS)
    theta = rope.get("rope_theta", values.get("rope_theta", 10_000.0))
    if not isinstance(kind, str) or kind not in SCALING:
        raise _refused(f"rope_type {kind!r} is not supported", path, WORKS)
    keys = SCALING[kind]
    foreign = rope.keys() - keys.keys() - {"type", "rope_type", "rope_theta"}
    # transformers 5 writes this one beside every kind.
    foreign -= {"partial_rotary_factor", "original_max_position_embeddings"}
    if foreign:
        what = f"{sorted(foreign)[0]} of rope_type {kind!r} is not supported"
        raise _refused(what, path, WORKS)
    if kind == "default":
        return theta, None
    found = {ours: rope[key] for key, ours in keys.items() if rope.get(key) is not None}
    if "original_context" in keys.values():
        context = values["max_position_embeddings"]
        before = values.get("original_max_position_embeddings")  # outside, it goes first
        found["original_context"] = before or found.get("original_context", context)
    found = {
        name: _scaling_value(value, name, f"{name} of rope_type {kind!r}", path)
        for name, value in found.items()
    }
    if kind == "yarn":
        found.setdefault("factor", context / found["original_context"])
    if "factor" not in found:
        raise _refused(f"rope_type {kind!r} has no factor", path, DAMAGED)
    try:
        return theta, RopeScaling(kind=cast("RopeKind", kind), **found)
    except RecipeError as failure:
        problem = failure.what
    raise _refused(problem, path, DAMAGED)


def _scaling_value(value: Any, name: str, called: str, path: Path) -> float | bool:
    if name == "original_context":
        return whole(value, called, path, most=MOST["max_position_embeddings"])
    if name == "truncate":
        return switch(value, called, path)
    if name.startswith("mscale") and value == 0 and not isinstance(value, bool):
        return 0.0  # the same as none, in transformers too
    return number(value, called, path, below=1e6)


def _count(values: Mapping[str, Any], key: str, path: Path) -> int:
    return whole(values.get(key), key, path, most=MOST[key])


def _attention_bias(family: str, values: Mapping[str, Any], path: Path) -> AttentionBias:
    """Qwen2 always has one, Mistral never; neither reads a key for it."""
    known = FAMILIES[family].attention_bias
    if "all" in known:
        return "all" if switch(values.get("attention_bias"), "attention_bias", path) else "none"
    return known[0]


def _windows(family: str, values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """`window` and `full_layers` of a config."""
    known, layers = FAMILIES[family], values["num_hidden_layers"]
    window = values.get("sliding_window")
    used = switch(values.get("use_sliding_window"), "use_sliding_window", path)
    if known.layers_differ and not used:
        window = None
    if not known.window:
        if window is not None:
            raise _refused(f"sliding_window {window!r} is not supported", path, WORKS)
        return {}
    if window is not None:
        _count(values, "sliding_window", path)
    kinds = values.get("layer_types")
    if kinds is None:
        kinds = _layer_types(family, values, layers, window, path)
    elif (
        not isinstance(kinds, list)
        or len(kinds) != layers
        or not all(kind in (SLIDING, FULL) for kind in kinds)
    ):
        raise _refused(f"layer_types {kinds!r} are not supported", path, WORKS)
    full = tuple(layer for layer, kind in enumerate(kinds) if kind == FULL)
    if window is None and len(full) < layers:
        raise _refused("layer_types has windows, and sliding_window is not set", path, DAMAGED)
    if window is None or len(full) == layers:
        if window is not None and not known.layers_differ:
            raise _refused(f"layer_types {kinds!r} are not supported", path, WORKS)
        return {}
    return {"window": window, "full_layers": full}


def _layer_types(
    family: str, values: Mapping[str, Any], layers: int, window: int | None, path: Path
) -> list[str]:
    """Which layers have a window where the file does not list them."""
    if window is None:
        return [FULL] * layers
    if family == "smollm3":
        unrotated = _unrotated(values, layers, path)
        return [SLIDING if layer in unrotated else FULL for layer in range(layers)]
    first = values.get("max_window_layers", 0) if FAMILIES[family].layers_differ else 0
    whole(first, "max_window_layers", path, least=0, most=MOST["num_hidden_layers"])
    return [SLIDING if layer >= first else FULL for layer in range(layers)]


def _unrotated_layers(family: str, values: Mapping[str, Any], path: Path) -> tuple[int, ...]:
    if not FAMILIES[family].unrotated_layers:
        return ()
    stated = values.get("no_rope_layers")
    layers = values["num_hidden_layers"]
    if stated is not None and (not isinstance(stated, list) or len(stated) < layers):
        raise _refused(f"no_rope_layers {stated!r} does not name every layer", path, DAMAGED)
    return _unrotated(values, layers, path)


def _unrotated(values: Mapping[str, Any], layers: int, path: Path) -> tuple[int, ...]:
    """Layers without positions. A 0 of `no_rope_layers` means one: that is how it is spelt."""
    rotated = values.get("no_rope_layers")
    if rotated is None:
        key = "no_rope_layer_interval"
        interval = whole(values[key], key, path, most=MOST["num_hidden_layers"])
        rotated = [int((layer + 1) % interval > 0) for layer in range(layers)]
    for each in rotated:
        whole(each, "a layer of no_rope_layers", path, least=0, most=1)
    return tuple(layer for layer in range(layers) if not rotated[layer])


def _described_scaling(scaling: RopeScaling) -> dict[str, Any]:
    stated: dict[str, Any] = {"rope_type": scaling.kind}
    for key, ours in SCALING[scaling.kind].items():
        value = getattr(scaling, ours)
        if value is not None:
            stated[key] = value
    return stated


def _described_windows(config: DecoderConfig) -> dict[str, Any]:
    family = FAMILIES[config.family]
    if not family.window:
        return {}
    if not family.layers_differ:
        return {"sliding_window": config.window or None}
    stated: dict[str, Any] = {
        "use_sliding_window": config.window > 0,
        "sliding_window": config.window or None,
        "layer_types": [
            SLIDING if config.window_of(layer) else FULL for layer in range(config.layers)
        ],
    }
    if config.family != "smollm3":
        # For readers that know no layer_types; it can say the first layers only.
        stated["max_window_layers"] = len(config.full_layers) if config.window else config.layers
    return stated


def _described_positions(config: DecoderConfig) -> dict[str, Any]:
    if not FAMILIES[config.family].unrotated_layers:
        return {}
    rotated = [int(layer not in config.unrotated_layers) for layer in range(config.layers)]
    # SmolLM3's own ids lie beyond a small vocabulary, where transformers refuses them.
    no_ids: dict[str, Any] = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    return {"no_rope_layers": rotated} | no_ids


def _refused(what: str, where: Path, remedy: str) -> DataError:
    return DataError(what, str(where), remedy)
