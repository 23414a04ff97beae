"""Training an adapter in the place of the whole model, for whatever phase asks for it.

The base is frozen and held once, in the type that matmuls run in. What a phase publishes is the
whole model, so that everything behind it takes it as it takes any other; the adapter alone lies in
`adapter/`, for servers that hold one base and many adapters.
"""

from pathlib import Path

from volano.model.adapter import (
    ADAPTER_FOLDER,
    Adapter,
    attach,
    hold_once,
    load_adapter,
    merge,
    save_adapter,
)
from volano.model.decoder import Decoder
from volano.model.huggingface import load_checkpoint
from volano.train.compute import compute_dtype
from volano.train.section import AdaptedSection


def begin_adapter(model: Decoder, section: AdaptedSection, seed: int) -> Adapter | None:
    """Freeze the model under a fresh adapter, where the section asks for one."""
    if section.lora is None:
        return None
    lora = section.lora
    adapter = Adapter(lora.rank, lora.alpha, tuple(lora.targets), lora.dropout)
    attach(model, adapter, seed)
    hold_once(model, compute_dtype(section.precision))
    return adapter


def end_adapter(model: Decoder, adapter: Adapter, base: Path, folder: Path) -> Decoder:
    """Write the adapter below `folder`; the base from its file, which was never rounded, with the
    adapter merged in."""
    save_adapter(folder / ADAPTER_FOLDER, model, adapter, base=base.name)
    merged = load_checkpoint(base)
    load_adapter(merged, folder / ADAPTER_FOLDER)
    merge(merged)
    return merged
