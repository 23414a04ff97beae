"""What an installation holds: every pin kept, no CUDA without a GPU, every import declared."""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement

CUDA = re.compile(r"nvidia-|cuda|triton$|pytorch-triton")
# Where a package is imported under another name than it is installed by.
DISTRIBUTION_OF = {
    "ruamel": "ruamel-yaml",
    "sklearn": "scikit-learn",
    "stdnum": "python-stdnum",
}
# Imported as the other half of a declared package.
COME_ALONG = {"llvmlite", "pydantic-core", "starlette"}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins_of(root) -> dict[str, str]:
    lines = (root / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def declared_in(root) -> set[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    optional = [each for name, extra in extras.items() if name != "dev" for each in extra]
    listed = [*project["dependencies"], *optional]
    return {normalised(re.match(r"[\w.-]+", each)[0]) for each in listed}


def has_gpu() -> bool:
    if shutil.which("nvidia-smi") is None:
        return False
    return subprocess.run(["nvidia-smi", "-L"], capture_output=True).returncode == 0


@pytest.mark.skipif(has_gpu(), reason="a machine with a GPU has use for the CUDA build")
def test_a_machine_without_gpu_holds_no_cuda_package():
    names = {normalised(each.metadata["Name"]) for each in metadata.distributions()}
    assert sorted(name for name in names if CUDA.match(name)) == []
    if importlib.util.find_spec("torch"):
        import torch

        assert torch.version.cuda is None


@pytest.mark.parametrize(
    ("name", "is_cuda"),
    [
        ("nvidia-cublas", True),
        ("cuda-bindings", True),
        ("triton", True),
        ("torch", False),
        ("barracuda", False),
    ],
)
def test_a_cuda_package_is_known_by_its_name(name, is_cuda):
    assert bool(CUDA.match(name)) is is_cuda


def test_lock_names_no_torch_no_cuda_and_no_index(root):
    pins = pins_of(root)
    assert [name for name in pins if name.startswith("torch") or CUDA.match(name)] == []
    assert not re.search(r"https?:|--\w*index|file:|@", (root / "requirements.lock").read_text())


def test_every_dependency_of_the_project_is_pinned(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *(each for extra in extras for each in extra)]
    names = {normalised(re.match(r"[\w.-]+", each)[0]) for each in asked}
    assert names - {normalised(name) for name in pins_of(root)} == set()


def test_this_environment_keeps_every_pin(root):
    pins = {normalised(name): version for name, version in pins_of(root).items()}
    strays = {
        name: (each.version, pins[name])
        for each in metadata.distributions()
        if (name := normalised(each.metadata["Name"])) in pins and each.version != pins[name]
    }
    assert strays == {}


def test_every_import_of_the_package_is_declared(root):
    found = {}
    for path in sorted((root / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            else:
                continue
            for module in modules:
                top = module.split(".")[0]
                found[DISTRIBUTION_OF.get(top, normalised(top))] = path.relative_to(root)
    known = {"volano", "torch"} | {normalised(name) for name in sys.stdlib_module_names}
    known |= declared_in(root) | COME_ALONG
    assert {name: str(path) for name, path in found.items() if name not in known} == {}


def installed_by(*asked: str) -> set[str]:
    """Names of all that pip installs for these requirements, as this environment's records say."""
    names, waiting = set(), [Requirement(each) for each in asked]
    while waiting:
        need = waiting.pop()
        name = normalised(need.name)
        if name in names and not need.extras:
            continue
        names.add(name)
        for each in metadata.requires(name) or []:
            inner = Requirement(each)
            extras = [*need.extras, ""]
            if not inner.marker or any(inner.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(inner)
    return names


def test_the_built_in_corpus_reads_only_what_make_run_installs():
    pytest.importorskip("torch")
    from volano.collect.installation import OWN_PACKAGES

    # Else the corpus, and every figure, would change once `make test` has added its own packages.
    assert set(OWN_PACKAGES) - installed_by("volano[train]", "torch") == set()


@pytest.mark.xdist_group("grouped")
def test_the_installed_pytest_keeps_groups_on_one_worker(request):
    if "loadgroup" not in getattr(request.config, "workerinput", {"mainargv": ()})["mainargv"]:
        pytest.skip("run without --dist loadgroup")
    assert request.node.nodeid.endswith("@grouped")  # what --dist loadgroup schedules by
