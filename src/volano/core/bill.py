"""What making an artifact cost: seconds, processor seconds, peak memory, and where it ran."""

import os
import platform
import resource
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from volano.core.files import read_json, write_json

CLEAR_PEAK = "5"  # resets the kernel's VmHWM. Source: man 5 proc, /proc/[pid]/clear_refs


class Meter:
    """Measures from its creation on. Peak memory is per step where the kernel can reset it.

    What was made in several sittings costs all of them: each leaves its figures at `path` when it
    is stopped. A sitting that was killed leaves none, and the bill counts it as such.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.earlier: list[dict[str, Any]] = read_json(path) if path.is_file() else []
        write_json(path, [*self.earlier, {}])
        self.start = time.monotonic()
        self.processor = _processor_seconds()
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)

    def stop(self) -> None:
        """Leave this sitting's figures for the next one."""
        write_json(self.path, [*self.earlier, self._sitting()])

    def read(self) -> dict[str, Any]:
        """The bill so far."""
        sittings = [*self.earlier, self._sitting()]
        measured = [each for each in sittings if each]
        bill = {
            "seconds": round(sum(each["seconds"] for each in measured), 3),
            "processor_seconds": round(sum(each["processor_seconds"] for each in measured), 3),
            "peak_memory_bytes": max(each["peak_memory_bytes"] for each in measured),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "host": platform.node(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
        }
        if len(sittings) > 1:
            bill |= {"sittings": len(sittings), "sittings_killed": len(sittings) - len(measured)}
        return bill

    def _sitting(self) -> dict[str, Any]:
        return {
            "seconds": time.monotonic() - self.start,
            "processor_seconds": _processor_seconds() - self.processor,
            "peak_memory_bytes": peak_memory_bytes(),
        }


@contextmanager
def part_of(
    bill: MutableMapping[str, float], name: str, *, elsewhere: bool = False
) -> Iterator[None]:
    """Measure a part of the work: NAME_seconds and NAME_processor_seconds in the bill, the latter
    not where others did the work (`elsewhere`: processes that are no children of this one)."""
    started, processor = time.monotonic(), _processor_seconds()
    yield
    bill[f"{name}_seconds"] = time.monotonic() - started
    if not elsewhere:
        bill[f"{name}_processor_seconds"] = _processor_seconds() - processor


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
