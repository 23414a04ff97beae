"""Where tensors lie: on the processor, or on the CUDA device of this process.

One setting decides for every phase (`device` of a recipe, `--device` of serve and chat). A model is
loaded or drawn on the processor and then moved, so that what is drawn is the same on any device.

Each process has one device: the first, or where several run on a machine the one whose number is
the process's (LOCAL_RANK, as torchrun sets it).
"""

import os

import torch
import torch.distributed as dist

from volano.core.errors import RecipeError
from volano.core.step import Context, Device

CPU = torch.device("cpu")


def device_of(asked: Device) -> torch.device:
    """`auto` is CUDA where torch sees a device, else the processor.

    Raises RecipeError where CUDA is asked for and torch sees none, and where this machine has more
    processes of the run than devices.
    """
    if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
        return CPU
    place = _place()
    require_devices(asked, place + 1)
    device = torch.device("cuda", place)
    torch.cuda.set_device(device)  # NCCL and compiled kernels take the current one
    return device


def require_devices(asked: Device, processes: int) -> None:
    """Raise RecipeError where `asked` means CUDA, and there are fewer devices than processes."""
    if asked == "cpu":
        return
    if not torch.cuda.is_available():
        if asked == "cuda":
            built = f"torch {torch.__version__}"
            reason = "was built without CUDA" if torch.version.cuda is None else "sees no device"
            raise RecipeError(
                f"no CUDA device: {built} {reason}",
                "device",
                "Set device: auto or cpu, or install torch for CUDA and the driver of the device.",
            )
        return
    devices = torch.cuda.device_count()
    if processes > devices:
        raise RecipeError(
            f"{processes} processes on this machine, and {devices} CUDA "
            f"{'device' if devices == 1 else 'devices'}",
            "device",
            "Start as many processes as there are devices, or set device: cpu.",
        )


def device_for(context: Context) -> torch.device:
    """The device of a step, which its bill then names."""
    device = device_of(context.device)
    context.computed_on = name_of(device)
    return device


def name_of(device: torch.device) -> str:
    """As its maker calls it; cpu for the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _place() -> int:
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"])
    return dist.get_rank() if dist.is_initialized() else 0
