import sysconfig
from pathlib import Path

import pytest
from small_tree import SETTINGS, WHEEL_TOOLS, new_context, write, write_package

from volano.collect.installation import Installation
from volano.collect.python_installation import collect_installation
from volano.core.step import Context


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return small_installation(tmp_path)


def small_installation(tmp_path: Path) -> Installation:
    """A slice of the real standard library (json, textwrap) and one made-up package."""
    real = Path(sysconfig.get_paths()["stdlib"])
    library = tmp_path / "lib"
    names = ["textwrap.py", *(f"json/{path.name}" for path in (real / "json").glob("*.py"))]
    write(library, {name: (real / name).read_bytes() for name in names})
    write(
        library,
        {
            "pydoc_data/topics.py": "topics = {'for': 'The for statement.\\n', 'if': 'The if.'}\n",
            "sitecustomize.py": '"""Of the distributor, so not of the library."""\n',
            "json/tests/test_json.py": '"""Left out, being a test."""\n',
            "LICENSE.txt": "PSF licence.",
        },
    )
    site = tmp_path / "site-packages"
    write_package(site, "wheel_tools", "1.2", WHEEL_TOOLS)
    return Installation(library, (site,))


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Installation, Path]:
    """The small installation and the corpus made of it, read by several tests."""
    installation = small_installation(tmp_path_factory.mktemp("installation"))
    context = new_context(tmp_path_factory.mktemp("collected"))
    collect_installation(SETTINGS, context, installation)
    return installation, context.folder


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return new_context(tmp_path / "run")
