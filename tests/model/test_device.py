"""Which device a process takes, with a torch that says what the test wants of CUDA."""

import pytest
import torch

from volano.core.errors import RecipeError
from volano.core.step import Context
from volano.model import device as devices
from volano.model.device import device_for, device_of, name_of, require_devices
from volano.train.compute import compute_dtype


@pytest.fixture
def cuda(monkeypatch):
    """A machine with two CUDA devices; which one was made current."""
    current = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Toy {device.index}")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    return current


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_auto_takes_cuda_where_there_is_one(cuda, tmp_path):
    assert device_of("auto") == torch.device("cuda", 0)
    assert cuda == [torch.device("cuda", 0)]
    assert device_of("cpu") == torch.device("cpu")
    context = Context(tmp_path, tmp_path, seed=1)
    assert device_for(context) == torch.device("cuda", 0)
    assert context.computed_on == "Toy 0"


def test_auto_takes_the_processor_where_there_is_none(no_cuda, tmp_path):
    assert device_of("auto") == torch.device("cpu")
    context = Context(tmp_path, tmp_path, seed=1)
    device_for(context)
    assert context.computed_on == name_of(devices.CPU) == "cpu"


def test_each_process_of_a_machine_has_its_own_device(cuda, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device_of("auto") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(RecipeError) as refused:
        device_of("auto")
    assert str(refused.value) == (
        "device: 3 processes on this machine, and 2 CUDA devices. Start as many processes as "
        "there are devices, or set device: cpu."
    )
    assert device_of("cpu") == torch.device("cpu")


def test_cuda_without_a_device_is_refused_with_a_remedy(no_cuda, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(RecipeError, match=r"^device: no CUDA device: torch .* without CUDA\. Set"):
        device_of("cuda")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(RecipeError, match="sees no device"):
        require_devices("cuda", 1)
    require_devices("auto", 4)
    require_devices("cpu", 4)


@pytest.mark.parametrize(("has", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_precision_on_cuda_is_bfloat16_where_the_device_has_it(monkeypatch, has, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has)
    device = torch.device("cuda", 0)
    assert compute_dtype("auto", device) == dtype
    assert compute_dtype("bfloat16", device) == torch.bfloat16
    assert compute_dtype("float32", device) == torch.float32
