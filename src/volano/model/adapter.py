"""LoRA: a frozen model, and thin matrices beside its projections that learn in its stead.

An adapter is kept as peft keeps it, adapter_config.json beside adapter_model.safetensors, so that
servers load it on top of the base. Merged, the model is a plain checkpoint again.

Source: Hu et al. 2021 (LoRA); the file format of peft 0.17 (LoraConfig).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import Tensor

from volano.core.errors import DataError, RecipeError, did_you_mean
from volano.core.files import atomic_path, write_json
from volano.model.decoder import Decoder
from volano.model.layer import Joined
from volano.model.low_rank import LowRank
from volano.model.stated import number, read_object, switch, whole

ADAPTER_FOLDER = "adapter"  # beside a checkpoint that it was merged into
ADAPTER_CONFIG_FILE, ADAPTER_FILE = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # of every name in peft's file
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WORKS = f"What works: peft_type LORA on {', '.join(TARGETS)}, one rank for all, bias none."
MOST_RANK = 1 << 16
# Set to anything true, these change what an adapter computes or to which weights it belongs.
FOREIGN = (
    "use_dora",
    "fan_in_fan_out",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "alora_invocation_tokens",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "lora_bias",
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
)
# The beginnings that leave the base as its file has it; pissa, olora and others subtract from it.
BEGINNINGS = (None, True, False, "gaussian", "orthogonal", "eva")


@dataclass(frozen=True)
class Adapter:
    """An adapter's settings. What it adds is alpha / rank times its product (`scale`)."""

    rank: int
    alpha: float
    targets: tuple[str, ...] = TARGETS
    dropout: float = 0.0
    stabilised: bool = False  # alpha / √rank instead (Kalajdzievski 2023)

    def __post_init__(self) -> None:
        for name in self.targets:
            if name not in TARGETS:
                raise RecipeError(f"no layer '{name}'", "lora.targets", did_you_mean(name, TARGETS))
        if self.rank < 1 or not self.targets:
            raise RecipeError("nothing to train", "lora", "Set a rank and targets.")

    @property
    def scale(self) -> float:
        return self.alpha / (self.rank**0.5 if self.stabilised else self.rank)


def attach(model: Decoder, adapter: Adapter, seed: int) -> None:
    """Freeze the model and give it an adapter that adds nothing yet. Equal seeds, equal weights."""
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    for _, layer in _targets(model, adapter.targets):
        layer.attach(adapter.rank, adapter.scale, adapter.dropout, generator)


def hold_once(model: Decoder, dtype: torch.dtype) -> None:
    """Hold the frozen weights in `dtype`, joined as the matmuls want them, and nowhere else.

    In bfloat16 they are rounded: what is saved or merged later has to start from the file.
    """
    for module in model.modules():
        if isinstance(module, Joined):
            module.hold_once(dtype)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    model.compute_in(dtype)


def merge(model: Decoder) -> None:
    """Add what the adapter has learnt to the weights, and take it off: a plain model again."""
    with torch.no_grad():
        for _, layer in _targets(model):
            if layer.lora_A is not None:
                layer.weight += layer.product().to(layer.weight.dtype)
                layer.detach_adapter()
    _forget_joined(model)
    model.requires_grad_(True)


def unmerge(model: Decoder, adapter: Adapter, state: dict[str, Tensor]) -> None:
    """Take an adapter (`adapter_state`) out of merged weights, up to rounding, and attach it."""
    attach(model, adapter, seed=0)
    _load(model, state)
    with torch.no_grad():
        for _, layer in _targets(model, adapter.targets):
            layer.weight -= layer.product().to(layer.weight.dtype)
    _forget_joined(model)


def _forget_joined(model: Decoder) -> None:
    """Join the weights anew from now on: what `hold_once` or `freeze` kept is of those before."""
    for module in model.modules():
        if isinstance(module, Joined):
            module.kept = None


def adapter_state(model: Decoder) -> dict[str, Tensor]:
    """The adapter's matrices under peft's names, in float32, on the CPU."""
    return {
        PREFIX + name: value.detach().float().cpu().contiguous()
        for name, value in model.state_dict().items()
        if ".lora_" in name
    }


def save_adapter(folder: Path, model: Decoder, adapter: Adapter, *, base: str) -> None:
    """Write the two files that peft reads; `base` says what the adapter belongs to."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / ADAPTER_FILE) as unfinished:
        unfinished.write_bytes(serialized(adapter_state(model), metadata={"format": "pt"}))
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": adapter.dropout,
        "target_modules": list(adapter.targets),
        "use_rslora": adapter.stabilised,
        "use_dora": False,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "inference_mode": True,
        "modules_to_save": None,
        "rank_pattern": {},
        "alpha_pattern": {},
    }
    write_json(folder / ADAPTER_CONFIG_FILE, config)


def load_adapter(model: Decoder, folder: Path) -> Adapter:
    """Attach the adapter that peft or we have saved. Raises DataError where it does not belong."""
    config_path, path = folder / ADAPTER_CONFIG_FILE, folder / ADAPTER_FILE
    config = _read_config(config_path)
    try:
        with safe_open(path, framework="pt") as tensors:
            state = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as failure:
        problem = str(failure).splitlines()[0]
        raise _refused(f"damaged or truncated ({problem})", path, "Copy it again.") from None
    for name, value in state.items():
        if not value.is_floating_point() or not value.float().isfinite().all():
            what = f"{name} is not finite numbers ({value.dtype})"
            raise _refused(what, path, "Copy it again.")
    # The names in the file say what a pattern in target_modules had matched.
    found = {name.split(".lora_")[0].rpartition(".")[2] for name in state}
    if not found <= set(TARGETS):
        raise _refused(f"adapts {', '.join(sorted(found - set(TARGETS)))}", path, WORKS)
    adapter = Adapter(
        rank=whole(config.get("r"), "r", config_path, most=MOST_RANK),
        alpha=number(config.get("lora_alpha"), "lora_alpha", config_path),
        targets=tuple(name for name in TARGETS if name in found),
        dropout=_dropout(config.get("lora_dropout"), config_path),
        stabilised=switch(config.get("use_rslora"), "use_rslora", config_path),
    )
    attach(model, adapter, seed=0)
    wanted = {name: tuple(value.shape) for name, value in adapter_state(model).items()}
    for name in sorted(wanted.keys() | state.keys()):
        have = tuple(state[name].shape) if name in state else None
        if have != wanted.get(name):
            what = f"{name} has shape {have}, the model and its config say {wanted.get(name)}"
            raise _refused(what, path, "The adapter is of another model, or damaged.")
    _load(model, state)
    return adapter


def _load(model: Decoder, state: dict[str, Tensor]) -> None:
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in state.items():
            own[name.removeprefix(PREFIX)].copy_(value)


def _targets(model: Decoder, names: tuple[str, ...] = TARGETS) -> list[tuple[str, LowRank]]:
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, LowRank) and name.rpartition(".")[2] in names
    ]


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = read_object(path)
    except FileNotFoundError:
        raise _refused("no adapter here", path, "Name the folder of an adapter.") from None
    meant: dict[str, tuple[Any, ...]] = {
        "peft_type": ("LORA",),
        "bias": ("none",),
        "task_type": ("CAUSAL_LM", None),
        "init_lora_weights": BEGINNINGS,
    }
    for key, values in meant.items():
        if config.get(key, values[0]) not in values:
            raise _refused(f"{key} {config[key]!r} is not supported", path, WORKS)
    for key in FOREIGN:
        if config.get(key):
            raise _refused(f"{key} {config[key]!r} is not supported", path, WORKS)
    return config


def _dropout(value: Any, path: Path) -> float:
    if value is None or (value == 0 and not isinstance(value, bool)):
        return 0.0
    return number(value, "lora_dropout", path, below=1.0)


def _refused(what: str, path: Path, remedy: str) -> DataError:
    return DataError(what, str(path), remedy)
