"""Which build of torch scripts/install_torch takes on which machine."""

import importlib.machinery
import importlib.util
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def script(root):
    loader = importlib.machinery.SourceFileLoader("install_torch", f"{root}/scripts/install_torch")
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("install_torch", loader)
    )
    loader.exec_module(module)
    return module


class Machine:
    """Answers each command as a machine would on which only `works` can be installed."""

    def __init__(self, *works: str) -> None:
        self.works = works
        self.asked: list[str] = []

    def __call__(self, command) -> bool:
        is_uv = command[0].endswith("uv")
        self.asked.append("uv" if is_uv else command[-1].partition("torch")[2])
        return self.asked[-1] in self.works


@pytest.mark.parametrize(
    ("works", "gpu", "allow", "chosen", "asked"),
    [
        (["==2.13.0+cpu"], False, False, "the CPU build that pip found", ["==2.13.0+cpu"]),
        (["uv"], False, False, "the CPU build, by uv", ["==2.13.0+cpu", "uv"]),
        (["===2.13.0"], False, False, "", ["==2.13.0+cpu", "uv"]),
        (
            ["===2.13.0"],
            False,
            True,
            "the plain wheel, as ALLOW_CUDA_WHEEL=1 asks",
            ["==2.13.0+cpu", "uv", "===2.13.0"],
        ),
        (["===2.13.0", "==2.13.0+cpu"], True, False, "the plain wheel, for the GPU", ["===2.13.0"]),
        (
            ["==2.13.0+cpu"],
            True,
            False,
            "the CPU build that pip found",
            ["===2.13.0", "==2.13.0+cpu"],
        ),
    ],
)
def test_the_build_follows_from_the_machine(script, monkeypatch, works, gpu, allow, chosen, asked):
    monkeypatch.setattr(script.shutil, "which", lambda name: f"/bin/{name}")
    machine = Machine(*works)
    options = {"gpu": gpu, "plain_is_cuda": True, "allow_cuda_wheel": allow}
    assert script.install(machine, **options) == chosen
    assert machine.asked == asked


def test_where_the_plain_wheel_holds_no_cuda_it_is_taken(script):
    machine = Machine("==2.13.0")
    options = {"gpu": False, "plain_is_cuda": False, "allow_cuda_wheel": False}
    assert script.install(machine, **options) == "the plain wheel"


def test_a_borrowed_uv_is_fetched_for_the_call_and_does_not_stay(script, monkeypatch):
    monkeypatch.setattr(script.shutil, "which", lambda name: None)
    folders = []

    def run(command) -> bool:
        folders.append(
            command[command.index("--target") + 1] if "--target" in command else command[0]
        )
        return True

    assert script.run_uv(run, ["pip", "install"])
    assert folders[1] == f"{folders[0]}/bin/uv"
    assert not script.Path(folders[0]).exists()


def test_the_refusal_names_the_size_and_the_ways_on(script):
    assert "3 GB" in script.REFUSAL
    assert "ALLOW_CUDA_WHEEL=1" in script.REFUSAL
    assert "PIP_FIND_LINKS" in script.REFUSAL


def test_an_installed_torch_is_left_alone(root):
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, f"{root}/scripts/install_torch"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
