"""What each step cost on this machine: time, utilisation, memory, energy.

None of it is the same twice, so it goes to measurements/steps.parquet and the bill, outside the
digests. Utilisation stands against the matmul that this machine reached just before, with the run's
threads and type, and not against a data sheet.
"""

import resource
import time
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import torch

from volano.core.artifact import MEASUREMENTS
from volano.core.corpus import write_shard
from volano.train.energy import EnergyCounter

STEPS_FILE = f"{MEASUREMENTS}/steps.parquet"
CEILING_SECONDS = 0.3
# Of square matrices; which of them is faster differs by processor. Small ones do not fill a GPU.
CEILING_SIZES = {"cpu": (512, 1024), "cuda": (4096, 8192)}
_ceilings: dict[tuple[torch.dtype, int, torch.device], float] = {}


def matmul_ceiling(dtype: torch.dtype, device: torch.device) -> float:
    """The most floating-point operations in a second that a matmul in `dtype` reaches here, with
    the threads that torch has now. Measured once per process, in a third of a second."""
    key = dtype, torch.get_num_threads(), device
    if key not in _ceilings:
        _ceilings[key] = _measure(dtype, device)
    return _ceilings[key]


def _measure(dtype: torch.dtype, device: torch.device) -> float:
    # Constant numbers: drawing some would move the generator that training draws from.
    sizes = CEILING_SIZES["cuda" if device.type == "cuda" else "cpu"]
    matrices = [torch.full((size, size), 0.5, dtype=dtype, device=device) for size in sizes]
    outs = [torch.empty_like(matrix) for matrix in matrices]
    best = 0.0
    began = time.perf_counter()
    while time.perf_counter() - began < CEILING_SECONDS or not best:
        for matrix, out in zip(matrices, outs, strict=True):
            _wait(device)
            start = time.perf_counter()
            torch.mm(matrix, matrix, out=out)
            _wait(device)
            best = max(best, 2 * len(matrix) ** 3 / (time.perf_counter() - start))
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class StepMeter:
    """Columns that grow by a row per step, those of an earlier sitting included."""

    def __init__(self, energy: EnergyCounter, *, ceiling: float, device: torch.device) -> None:
        self.energy, self.ceiling, self.device = energy, ceiling, device
        self.columns: dict[str, list[float | None]] = {}
        self._rows = 0

    def resume(self, columns: Mapping[str, list[float | None]], rows: int) -> None:
        """Take over what an earlier sitting measured."""
        self.columns, self._rows = dict(columns), rows

    def begin(self) -> None:
        """A step begins."""
        self._start, self._joules = time.perf_counter(), self.energy.joules()

    def end(self, tokens: float, flops: float) -> float:
        """The step ends; its utilisation, a fraction of the ceiling."""
        seconds = time.perf_counter() - self._start
        utilisation = flops / seconds / self.ceiling
        row = {
            "seconds": seconds,
            "tokens_per_second": tokens / seconds,
            "utilisation": utilisation,
            "peak_memory_bytes": self._peak_memory_bytes(),
            self.energy.name: self.energy.joules() - self._joules,
        }
        for name in row.keys() - self.columns.keys():  # another counter than before the kill
            self.columns[name] = [None] * self._rows
        for name, values in self.columns.items():
            values.append(row.get(name))
        self._rows += 1
        return utilisation

    def total(self, name: str) -> float:
        """The sum of a column, 0 where there is none."""
        return sum(value or 0.0 for value in self.columns.get(name, []))

    @property
    def utilisation(self) -> float:
        """Of all steps, each by its time."""
        seconds, shares = (self.columns.get(name, []) for name in ("seconds", "utilisation"))
        used = sum((a or 0.0) * (b or 0.0) for a, b in zip(seconds, shares, strict=True))
        return used / max(self.total("seconds"), 1e-12)

    def bill(self) -> dict[str, float]:
        """The run as a whole, for bill.json."""
        names = ("joules", "joules_estimated")
        on_device = self.device.type == "cuda"  # else it is in the step's own figure of memory
        peaks = [each or 0.0 for each in self.columns.get("peak_memory_bytes", [])]
        return {
            "utilisation": round(self.utilisation, 4),
            "matmul_flops_per_second": round(self.ceiling),
            **({"peak_device_memory_bytes": max(peaks)} if on_device and peaks else {}),
            **{name: round(self.total(name), 1) for name in names if name in self.columns},
        }

    def save(self, folder: Path) -> None:
        """Write measurements/steps.parquet."""
        (folder / MEASUREMENTS).mkdir(exist_ok=True)
        steps = {"step": pa.array(range(1, self._rows + 1), pa.int64())}
        columns = {
            name: pa.array(self.columns[name], pa.float64()) for name in sorted(self.columns)
        }
        write_shard(folder / STEPS_FILE, pa.table(steps | columns))

    def _peak_memory_bytes(self) -> float:
        if self.device.type == "cuda":
            return float(torch.cuda.max_memory_allocated(self.device))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
