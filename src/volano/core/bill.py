"""What making an artifact cost: seconds, processor seconds, peak memory, and where it ran."""

import os
import platform
import resource
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CLEAR_PEAK = "5"  # resets the kernel's VmHWM. Source: man 5 proc, /proc/[pid]/clear_refs


class Meter:
    """Measures from its creation on. Peak memory is per step where the kernel can reset it."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.processor = _processor_seconds()
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)

    def read(self) -> dict[str, Any]:
        """The bill so far."""
        return {
            "seconds": round(time.monotonic() - self.start, 3),
            "processor_seconds": round(_processor_seconds() - self.processor, 3),
            "peak_memory_bytes": peak_memory_bytes(),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "host": platform.node(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
        }


def peak_memory_bytes() -> int:
    """Largest resident memory of this process; children are not counted."""
    with suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _processor_seconds() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
