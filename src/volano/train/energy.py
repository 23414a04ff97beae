"""The energy of a run: from a counter where the machine has one that we may read, else estimated.

Whoever reads the figure must see which of the two it is, so its name says so: `joules` is what
counters counted, `joules_estimated` has a part in it that is time times a stated power. On CUDA the
device is counted beside the processors.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed as dist

from volano.model.device import CPU
from volano.train.nvml import device_counter

POWERCAP = Path("/sys/class/powercap")


class EnergyCounter(Protocol):
    """Joules from some moment on; only differences mean anything."""

    name: str

    def joules(self) -> float:
        """The reading now."""
        ...


class PackageCounter:
    """What whole processors used (RAPL, Intel's and AMD's), whoever ran on them."""

    name = "joules"

    def __init__(self, packages: Sequence[Path]) -> None:
        self._packages = packages
        self._ranges = [_read(each / "max_energy_range_uj") for each in packages]
        self._last = [_read(each / "energy_uj") for each in packages]
        self._total = 0.0

    def joules(self) -> float:
        """Raises OSError where the counter has gone."""
        for place, package in enumerate(self._packages):
            now = _read(package / "energy_uj")
            # It runs over every hour or so, and then begins at 0.
            passed = now - self._last[place]
            self._total += passed if passed >= 0 else passed + self._ranges[place]
            self._last[place] = now
        return self._total / 1e6


class Estimate:
    """Processor seconds of this process times a power."""

    name = "joules_estimated"

    def __init__(self, watts_per_core: float) -> None:
        self._watts = watts_per_core

    def joules(self) -> float:
        return time.process_time() * self._watts


class DeviceEstimate:
    """Seconds that a device is held times a power: it is busy for nearly all of them."""

    name = "joules_estimated"

    def __init__(self, watts: float) -> None:
        self._watts = watts

    def joules(self) -> float:
        return time.monotonic() * self._watts


class SumCounter:
    """Several counters as one; an estimate as soon as one of them is."""

    def __init__(self, parts: Sequence[EnergyCounter]) -> None:
        self.parts = parts
        counted = all(each.name == PackageCounter.name for each in parts)
        self.name = PackageCounter.name if counted else Estimate.name

    def joules(self) -> float:
        return sum(each.joules() for each in self.parts)


class TogetherCounter:
    """The sum over the processes of a run, which all read it at once. A machine's counter is read
    by one of those that run on it; each reads its own device's."""

    def __init__(self, own: EnergyCounter) -> None:
        self.name = own.name
        one_of_many = os.environ.get("LOCAL_RANK", str(dist.get_rank())) != "0"
        parts = own.parts if isinstance(own, SumCounter) else [own]
        self._counted = [
            each for each in parts if not (one_of_many and isinstance(each, PackageCounter))
        ]

    def joules(self) -> float:
        """Collective."""
        own = sum(each.joules() for each in self._counted)
        total = torch.tensor(own, dtype=torch.float64)
        dist.all_reduce(total)
        return float(total)


def energy_counter(
    *,
    watts_per_core: float,
    watts_per_device: float = 0.0,
    device: torch.device = CPU,
    powercap: Path = POWERCAP,
) -> EnergyCounter:
    """The best that this machine offers, of its processors and, where the run is on one, of the
    CUDA device."""
    packages = [each for each in sorted(powercap.glob("intel-rapl:*")) if _is_package(each)]
    processors = PackageCounter(packages) if packages else Estimate(watts_per_core)
    if device.type != "cuda":
        return processors
    counted = device_counter(str(torch.cuda.get_device_properties(device).uuid))
    return SumCounter([processors, counted or DeviceEstimate(watts_per_device)])


def _is_package(folder: Path) -> bool:
    """Whether it is a whole processor, not a part of one, and we may read it."""
    try:
        _read(folder / "energy_uj")
        _read(folder / "max_energy_range_uj")
        return (folder / "name").read_text().startswith("package")
    except (OSError, ValueError):
        return False


def _read(path: Path) -> int:
    return int(path.read_text())
