"""A second device that is none: arithmetic on the processor, and the rules of an accelerator.

    with pretended_device() as device:
        model.to(device)(tokens_BT.to(device))

A tensor there cannot meet one of the processor and cannot be read by numpy, as on CUDA: what was
forgotten to be moved is found by a test on a machine without a GPU. Every result is the
processor's, to the bit. What kernels of CUDA do it cannot tell.

torch lets a device be written in Python (PrivateUse1); its guard and streams do nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

NAME = "pretended"
# Operators that take tensors of both: copies, and an index that torch moves by itself.
MEET = ("copy_", "_to_copy", "index.Tensor", "index_put", "_foreach_copy_")


class Pretended(torch.Tensor):
    """A tensor of the device; `held` is where its numbers are."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "Pretended":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
        )
        made.held = held
        return made

    def __deepcopy__(self, known: dict[int, Any]) -> "Pretended":
        made = self.detach().clone().requires_grad_(self.requires_grad)
        known[id(self)] = made
        return made

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        if function is torch.Tensor.tolist:  # which torch refuses to all classes but its own
            return args[0].held.tolist()
        return torch._C._disabled_torch_function_impl(function, types, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        return _computed(function, args, kwargs or {})


class _Everywhere(TorchDispatchMode):
    """Also sees what is made on the device out of nothing."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        return _computed(function, args, kwargs or {})


def _computed(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
    there = [each for each in given if isinstance(each, Pretended)]
    on_it = bool(there)
    name = str(function).removeprefix("aten.")
    strangers = [each for each in given if not isinstance(each, Pretended) and each.dim()]
    if there and strangers and not name.startswith(MEET):
        raise RuntimeError(f"{name}: expected all tensors on one device, found {NAME} and cpu")
    if name.startswith("copy_"):
        on_it = isinstance(args[0], Pretended)
    device = kwargs.get("device")
    if device is not None:
        on_it = torch.device(device).type == NAME
        if on_it:
            kwargs = kwargs | {"device": "cpu"}
    if kwargs.get("generator") is not None and on_it:
        raise RuntimeError(f"{name}: the generator is of the processor")
    found = function(*tree_map(_held, args), **tree_map(_held, kwargs))
    if not on_it:
        return found
    known = {id(each.held): each for each in there}  # in-place operators give back what they took

    def placed(each: Any) -> Any:
        if type(each) is not torch.Tensor:
            return each
        return known[id(each)] if id(each) in known else Pretended(each)

    return tree_map(placed, found)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Pretended) else value


class _WithoutStreams(_DummyBackendModule):
    def is_available(self) -> bool:
        """What writes checkpoints would else look for streams to copy on."""
        return False


@lru_cache
def register() -> None:
    """Let torch know of the device, before it first goes back through any graph."""
    _setup_privateuseone_for_python_backend(NAME, _WithoutStreams())


def here() -> None:
    """Make the device known in a thread of one's own, for as long as that runs."""
    torch._C._set_only_lift_cpu_tensors(True)
    _Everywhere().__enter__()


@contextmanager
def pretended_device() -> Iterator[torch.device]:
    """The device, while the block runs."""
    register()
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor makes it here, and moves it
    try:
        # torch cannot make a view of a parameter of another class in inference mode.
        with (
            _Everywhere(),
            patch.object(torch, "inference_mode", torch.no_grad),
        ):
            yield torch.device(NAME, 0)
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
