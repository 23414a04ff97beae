"""How fast a device that is not here would train: its peak times a utilisation.

The utilisation is given, or one that was published of a run on such a device; that run was of
another program and of a far larger model, so the time is what may be hoped for and no promise.
"""

from typing import NamedTuple

from volano.core.errors import RecipeError
from volano.study.devices import Device, device_named
from volano.study.recipe import Recipe
from volano.study.room import Room
from volano.study.training_memory import USABLE


class Reckoned(NamedTuple):
    """The device that a plan stands for, and the share of its peak that is counted on."""

    device: Device
    utilisation: float
    source: str

    def tokens_per_second(self, flops_per_token: float) -> float:
        """What the device would read while training."""
        return self.utilisation * self.device.peak_flops / flops_per_token

    @property
    def rate_from(self) -> str:
        """Where the rate is from, for whoever asks."""
        peak = f"{self.utilisation:.3g} of {self.device.peak_flops / 1e12:,.0f} TFLOP/s"
        return f"reckoned, not run: {peak} ({self.source})"

    def room(self) -> Room:
        """Its memory, less a tenth that is left to CUDA and fragmentation."""
        usable = int(USABLE * self.device.memory_bytes)
        return Room("cuda", usable, f"{self.device.name} less a tenth", shared=False)


def reckoned_for(
    recipe: Recipe, device: str | None = None, utilisation: float | None = None
) -> Reckoned | None:
    """The device to reckon with: the one named; for a recipe of CUDA on a machine without it the
    one that the recipe names. None where this machine is to be measured.

    Raises RecipeError where none is named and none is here, and DataError for an unknown name.
    """
    if device is None and utilisation is not None:
        raise RecipeError("is of a device that is named", "--utilisation", "Give --device too.")
    if device is None:
        if recipe.device != "cuda" or _has_cuda():
            return None
        device = recipe.about.device
        if not device:
            raise RecipeError(
                "device: cuda, and torch sees none here to measure",
                "volano plan",
                "Name one to reckon with: --device H100.",
            )
    found = device_named(device)
    if utilisation is not None:
        return Reckoned(found, utilisation, "as given")
    if found.utilisation is None:
        raise RecipeError(
            f"no run on {found.name} is known whose utilisation was published",
            "--utilisation",
            "Give one, such as 0.4.",
        )
    return Reckoned(found, found.utilisation, found.utilisation_source)


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
