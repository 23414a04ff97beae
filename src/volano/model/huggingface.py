"""Checkpoints as Hugging Face keeps them: config.json beside safetensors, in the Llama layout.

What is saved here loads in transformers, vLLM and llama.cpp unconverted; what transformers saves
for a family that the decoder computes (model/families.py) loads here, and is saved as that family
again. Anything that would load and then compute something else is refused.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import Tensor

from volano.core.errors import DataError
from volano.core.files import atomic_path, write_json
from volano.model.decoder import Decoder
from volano.model.families import CONFIG_FILE, WORKS, describe_family, read_config
from volano.model.stated import read_object
from volano.text.tokenizer import Tokenizer

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def save_checkpoint(folder: Path, model: Decoder, tokenizer: Tokenizer | None = None) -> None:
    """Write config, generation config and weights, and the tokenizer where one is given.

    Equal weights give equal bytes. config.json comes last, so a folder that has it is whole.
    """
    ids: dict[str, Any] = {}
    if tokenizer is not None:
        tokenizer.save(folder)
        end = tokenizer.end_of_text_id
        # A chat turn ends with one, a document with the other; servers stop at either.
        stops = sorted(tokenizer.stop_ids)
        begin = tokenizer.begin_of_text_id
        ids = {"bos_token_id": begin, "eos_token_id": stops, "pad_token_id": end}
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
    heads: list[tuple[Path, Tensor]] = []
    for path, name, value in _tensors(folder):
        if name.endswith("rotary_emb.inv_freq"):
            continue  # old checkpoints store what follows from the config
        if config.tied and name == HEAD:
            heads.append((path, value))
            continue
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
    for path, head in heads:
        # Many a file stores a tied embedding twice; transformers unties where the two differ.
        if not torch.equal(head.to(dtype), found[EMBEDDING]):
            what = f"{HEAD} differs from {EMBEDDING}, and {CONFIG_FILE} ties them"
            raise _refused(what, path, f"Set tie_word_embeddings to false in {CONFIG_FILE}.")
    model.load_state_dict(found, assign=True)
    model.rebuild_rotation()
    return model.requires_grad_(True).compute_in(dtype)


def _described(model: Decoder) -> dict[str, Any]:
    dtype = str(model.head_weight.dtype).removeprefix("torch.")
    return describe_family(model.config) | {"torch_dtype": dtype}


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
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(n, str) for n in names.values()):
        raise _refused("no weight_map", index, "Copy the checkpoint again.")
    files = [folder / name for name in sorted(set(names.values()))]
    for path in files:
        if path.parent != folder or not path.is_file():
            raise _refused(f"named in {INDEX_FILE} and missing", path, "Copy it again.")
    return files


def _refused(what: str, where: Path, remedy: str) -> DataError:
    return DataError(what, str(where), remedy)
