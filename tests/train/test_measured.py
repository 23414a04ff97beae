import time

import pyarrow.parquet as pq
import pytest
import torch
from toy_run import ToyStream, toy_train

from volano.core.artifact import describe_files
from volano.train import measured
from volano.train.energy import Estimate, PackageCounter, energy_counter
from volano.train.measured import StepMeter, matmul_ceiling


class Clock:
    """Joules and seconds as a test sets them."""

    name = "joules"

    def __init__(self, monkeypatch):
        self.now = self.used = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def joules(self):
        return self.used


def package(folder, place, name, energy, largest=1000):
    path = folder / f"intel-rapl:{place}"
    path.mkdir()
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{energy}\n")
    (path / "max_energy_range_uj").write_text(f"{largest}\n")
    return path


def test_counters_of_whole_processors_are_added_and_may_run_over(tmp_path):
    first = package(tmp_path, 0, "package-0", 900)
    package(tmp_path, "0:0", "core", 5)  # a part of it
    second = package(tmp_path, 1, "package-1", 100)
    counter = energy_counter(watts_per_core=12.0, powercap=tmp_path)
    assert isinstance(counter, PackageCounter)
    (first / "energy_uj").write_text("200")  # 100 to the end of its range, and 200 more
    (second / "energy_uj").write_text("150")
    assert counter.joules() == pytest.approx(350e-6)
    assert counter.name == "joules"


def test_without_a_counter_that_can_be_read_energy_is_called_an_estimate(tmp_path, monkeypatch):
    package(tmp_path, 0, "package-0", "")
    counter = energy_counter(watts_per_core=10.0, powercap=tmp_path)
    assert isinstance(counter, Estimate)
    assert counter.name == "joules_estimated"
    monkeypatch.setattr(time, "process_time", lambda: 7.0)
    assert counter.joules() == 70.0


def test_a_step_is_measured_by_hand(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    meter = StepMeter(clock, ceiling=1000.0, device=torch.device("cpu"))
    for seconds, joules, flops in ((2.0, 30.0, 1000.0), (1.0, 10.0, 250.0)):
        meter.begin()
        clock.now += seconds
        clock.used += joules
        assert meter.end(64, flops) == pytest.approx(flops / seconds / 1000)
    bill = meter.bill()
    assert bill["utilisation"] == pytest.approx(1250 / 3 / 1000, abs=1e-4)
    assert bill["joules"] == 40.0
    assert bill["matmul_flops_per_second"] == 1000
    meter.save(tmp_path)
    rows = pq.read_table(tmp_path / "measurements" / "steps.parquet").to_pylist()
    assert [row["tokens_per_second"] for row in rows] == [32.0, 64.0]
    assert all(row["peak_memory_bytes"] > 1e7 for row in rows)


def test_a_counter_that_is_gone_after_a_kill_leaves_two_columns(monkeypatch):
    clock = Clock(monkeypatch)
    first = StepMeter(clock, ceiling=1.0, device=torch.device("cpu"))
    second = StepMeter(clock, ceiling=1.0, device=torch.device("cpu"))
    for meter, name in ((first, "joules"), (second, "joules_estimated")):
        second.resume(first.columns, 1) if meter is second else None
        clock.name = name
        meter.begin()
        clock.now += 1.0
        clock.used += 5.0
        meter.end(1, 1.0)
    assert second.columns["joules"] == [5.0, None]
    assert second.columns["joules_estimated"] == [None, 5.0]
    assert {"joules", "joules_estimated"} <= second.bill().keys()


def test_the_ceiling_is_measured_once_and_leaves_the_generator_alone(monkeypatch):
    monkeypatch.setattr(measured, "_ceilings", {})
    monkeypatch.setattr(measured, "CEILING_SECONDS", 0.0)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    found = matmul_ceiling(torch.float32, torch.device("cpu"))
    assert torch.rand(1) == expected
    assert found > 1e8
    assert matmul_ceiling(torch.float32, torch.device("cpu")) == found


def test_measurements_of_a_run_lie_outside_its_digests(tmp_path):
    _, result = toy_train(tmp_path / "scratch", stream=ToyStream(steps=4))
    (tmp_path / "out").mkdir()
    result.save(tmp_path / "out")
    steps = pq.read_table(tmp_path / "out" / "measurements" / "steps.parquet")
    assert steps["step"].to_pylist() == [1, 2, 3, 4]
    assert set(describe_files(tmp_path / "out")) == {"metrics.parquet", "seen.parquet"}
    assert {"utilisation", "tokens_per_second", "training_seconds"} <= result.bill().keys()
