"""What a run computes in: the type of its matmuls, its threads, compiled or not."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from llvmlite.binding import get_host_cpu_name

from volano.core.errors import MissingExtra
from volano.model.decoder import Decoder
from volano.model.device import CPU
from volano.train.objective import LossOutput

AMD = "znver"  # as LLVM names Zen and its successors

LossFunction = Callable[[Decoder, Any], LossOutput]


def compute_dtype(precision: str, device: torch.device = CPU) -> torch.dtype:
    """The type of matmuls. `auto` is bfloat16 where the device is faster in it: on CUDA where it
    has the type in hardware; on a processor with AMX, and with AVX-512 bf16 on AMD's, where it
    doubles the speed. Intel's without AMX multiply in it at 0.64 of the speed of float32
    (docs/log.md, 2026-11-28)."""
    if precision == "float64":
        return torch.float64
    reduced = precision == "bfloat16" or (precision == "auto" and _is_faster_in_bfloat16(device))
    return torch.bfloat16 if reduced else torch.float32


def _is_faster_in_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.cpu._is_amx_tile_supported() or (
        torch.cpu._is_avx512_bf16_supported() and get_host_cpu_name().startswith(AMD)
    )


def compiled(loss: LossFunction) -> LossFunction:
    """The loss, compiled at its first call. Raises MissingExtra without a C++ compiler."""
    compilers = [os.environ.get("CXX", ""), "g++", "clang++"]
    if not any(shutil.which(name) for name in compilers if name):
        raise MissingExtra(
            "no C++ compiler found", "compile: on", "Install g++, or set compile: off."
        )
    # The loss is compiled and not the model: under no_grad that would recompile at each shape.
    made: LossFunction = torch.compile(loss, dynamic=False)
    return made


@contextmanager
def computing(
    model: Decoder, dtype: torch.dtype, threads: int, *, recompute: bool = False
) -> Iterator[None]:
    """The type and the threads of the run, and whether activations are made again for the way back;
    all as before afterwards."""
    before = model.compute_dtype, torch.get_num_threads()
    model.compute_in(dtype)
    model.recompute = recompute
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        model.compute_in(before[0])
        model.recompute = False
        torch.set_num_threads(before[1])
