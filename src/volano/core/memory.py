"""How much memory this process may have: the machine's, or what a container leaves it of it."""

from contextlib import suppress
from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60  # bytes; version 1 of cgroups writes a huge number where there is no limit


def usable_memory_bytes(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Bytes of memory and of swap together, the least that machine and control groups allow; None
    where the system does not say, as beyond Linux.

    It is what there is and not what is free: what others hold now they may give back. Sources:
    proc(5), meminfo; the kernel's cgroup-v2.rst, memory.max and memory.swap.max.
    """
    try:
        lines = (proc / "meminfo").read_text().splitlines()
    except OSError:
        return None
    read = {name: int(value.split()[0]) * 1024 for name, _, value in map(_parts, lines)}
    swap = read.get("SwapTotal", 0)
    limits = [read["MemTotal"] + swap]
    for folder in _groups(proc, cgroups):
        memory = _limit(folder / "memory.max") or _limit(folder / "memory.limit_in_bytes")
        if memory is not None:
            limits.append(memory + min(swap, _limit(folder / "memory.swap.max", swap) or 0))
    return min(limits)


def _parts(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def _groups(proc: Path, cgroups: Path) -> list[Path]:
    """The group that the process is in, and those above it, whose limits hold for it too."""
    found = [cgroups, cgroups / "memory"]  # of a container that sees its own group as the root
    with suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in {"", "memory"}:
                continue
            root = cgroups / controllers
            own = root / path.strip("/")
            found += [own, *(each for each in own.parents if each.is_relative_to(root))]
    return found


def _limit(path: Path, otherwise: int | None = None) -> int | None:
    try:
        text = path.read_text().strip()
        return int(text) if text != "max" and int(text) < UNLIMITED else otherwise
    except (OSError, ValueError):
        return otherwise
