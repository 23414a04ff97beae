"""What a machine and its containers leave a process, by files as the kernel writes them."""

from pathlib import Path

import pytest

from volano.core.memory import usable_memory_bytes

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path):
    """32 GiB of memory and 2 of swap; the process is in /a/b of the second version of cgroups."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(
        f"MemTotal:       {32 * GIB // 1024} kB\nMemFree: 1 kB\nSwapTotal: {2 * GIB // 1024} kB\n"
    )
    (proc / "self" / "cgroup").write_text("0::/a/b\n")
    (cgroups / "a" / "b").mkdir(parents=True)
    return proc, cgroups


def limit(folder: Path, memory, swap=None, name="memory.max"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"{memory}\n")
    if swap is not None:
        (folder / "memory.swap.max").write_text(f"{swap}\n")


def test_without_a_limit_all_of_the_machine_may_be_used(machine):
    assert usable_memory_bytes(*machine) == 34 * GIB
    limit(machine[1] / "a" / "b", "max")
    assert usable_memory_bytes(*machine) == 34 * GIB


def test_the_least_limit_of_a_group_and_those_above_it_holds(machine):
    limit(machine[1] / "a" / "b", 8 * GIB, "max")
    assert usable_memory_bytes(*machine) == 10 * GIB  # swap is limited apart
    limit(machine[1] / "a", 4 * GIB, 0)
    assert usable_memory_bytes(*machine) == 4 * GIB


def test_a_container_that_sees_its_own_group_as_the_root_is_read(machine):
    limit(machine[1], 6 * GIB, 1 * GIB)
    assert usable_memory_bytes(*machine) == 7 * GIB


def test_the_first_version_of_cgroups_is_read(machine):
    proc, cgroups = machine
    (proc / "self" / "cgroup").write_text("5:cpu:/x\n4:memory:/docker/1\n")
    limit(cgroups / "memory" / "docker" / "1", 3 * GIB, name="memory.limit_in_bytes")
    limit(cgroups / "memory", 9_223_372_036_854_771_712, name="memory.limit_in_bytes")
    assert usable_memory_bytes(proc, cgroups) == 5 * GIB


def test_a_system_that_does_not_say_is_not_guessed_at(tmp_path):
    assert usable_memory_bytes(tmp_path, tmp_path) is None
