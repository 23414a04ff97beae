"""The energy of a CUDA device, by a library that answers as NVIDIA's does."""

from types import SimpleNamespace

import pytest
import torch

from volano.train import energy, nvml
from volano.train.energy import Estimate, PackageCounter, SumCounter, energy_counter
from volano.train.nvml import device_counter

CUDA = torch.device("cuda", 0)
NOT_SUPPORTED = 3  # NVML_ERROR_NOT_SUPPORTED


class Library:
    def __init__(self, counts=True, known=(b"GPU-abc",)):
        self.millijoules, self.counts, self.known = 5000, counts, known

    def nvmlInit_v2(self):
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid, handle):
        return 0 if uuid in self.known else 6

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, into):
        if not self.counts:
            return NOT_SUPPORTED
        into._obj.value = self.millijoules
        return 0


def test_a_device_is_counted_in_joules():
    library = Library()
    counter = device_counter("abc", library)
    assert counter.joules() == 5.0
    library.millijoules += 2500
    assert counter.joules() == 7.5
    library.counts = False
    with pytest.raises(OSError, match="NVML error 3"):
        counter.joules()


def test_a_device_that_does_not_count_has_no_counter(monkeypatch):
    assert device_counter("abc", Library(counts=False)) is None
    assert device_counter("other", Library()) is None

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(nvml, "CDLL", missing)
    assert device_counter("abc") is None


def test_device_and_processors_are_added_and_one_estimate_makes_all_of_it_one(
    tmp_path, monkeypatch
):
    found = SimpleNamespace(uuid="abc")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: found)
    library = Library()
    monkeypatch.setattr(energy, "device_counter", lambda uuid: device_counter(uuid, library))
    settings = {"watts_per_core": 10.0, "watts_per_device": 300.0, "powercap": tmp_path}
    counter = energy_counter(device=CUDA, **settings)
    monkeypatch.setattr(energy.time, "process_time", lambda: 2.0)
    assert counter.name == "joules_estimated"  # of the processors
    assert counter.joules() == 20.0 + 5.0
    library.counts = False
    monkeypatch.setattr(energy.time, "monotonic", lambda: 4.0)
    assert energy_counter(device=CUDA, **settings).joules() == 20.0 + 4.0 * 300.0
    assert isinstance(energy_counter(**settings), Estimate)
    counted = PackageCounter([])
    assert SumCounter([counted, device_counter("abc", Library())]).name == "joules"
