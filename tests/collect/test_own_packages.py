import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from volano.collect.installation import OWN_PACKAGES

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_own_packages_are_those_that_use_alone_installs_and_none_of_development():
    pytest.importorskip("torch")
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    pending = [*project["dependencies"], *project["optional-dependencies"]["train"], "torch"]
    installed: set[str] = set()
    while pending:
        requirement = Requirement(pending.pop())
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and name not in installed:
            installed.add(name)
            try:
                pending += requires(name) or []
            except PackageNotFoundError:
                installed.discard(name)
    assert set(OWN_PACKAGES) <= installed
