"""A made-up package as pip leaves it, and what the tests of this room read of a run."""

from pathlib import Path

from volano.collect.section import CollectSection
from volano.core.corpus import Corpus
from volano.core.step import Context

INIT = '''"""Tools for wheels."""
from ._turning import turn, Wheel
from . import _hidden
__all__ = ["turn", "Wheel"]
'''
TURNING = '''"""How wheels turn."""

# a comment stays
def turn(wheel, /, times=1, *, backwards: bool = False):
    """Turn the given wheel about its own axle a number of times.

    Args:
        times: how often.
    """
    return [wheel] * times  # why not


def _secret():
    """This private function is documented for its authors only."""


class Wheel:
    """A round thing that rolls along the ground when it is pushed."""

    def __init__(self, radius_m=0.3):
        """Never a document of its own."""
        self.radius_m = radius_m

    @property
    def perimeter_m(self):
        """The way that the wheel rolls in one whole turn of itself."""
        return 6.28 * self.radius_m
'''
METADATA = """Metadata-Version: 2.1
Name: Wheel_Tools
Version: 1.2
License-Expression: MIT
Description-Content-Type: text/markdown

# Wheel tools

Reinvented.
"""


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def write_package(site: Path, name: str, version: str, files: dict[str, str | bytes]) -> None:
    """A package as pip leaves it: its files, METADATA, and RECORD with all their names."""
    information = f"{name}-{version}.dist-info"
    files = {f"{information}/METADATA": METADATA, **files}
    write(site, files)
    lines = [f"{file},sha256=x,1" for file in (*files, "../../bin/tool", f"{information}/RECORD")]
    (site / information / "RECORD").write_text("\n".join(lines) + "\n")


SETTINGS = CollectSection(
    packages=["wheel-tools"], held_out_functions=3, pool_fraction=0.2, code_fraction=1.0
)
WHEEL_TOOLS: dict[str, str | bytes] = {
    "wheel_tools/__init__.py": INIT,
    "wheel_tools/_turning.py": TURNING,
    "wheel_tools/broken.py": "def f(:\n",
    "wheel_tools/latin.py": b'"""caf\xe9"""\n',
    "wheel_tools/tests/test_turning.py": '"""Left out, being a test."""\n',
    "wheel_tools-1.2.dist-info/licenses/LICENSE": "Do as you like.",
}


def new_context(folder: Path, workers: int = 1) -> Context:
    (folder / "artifact").mkdir(parents=True)
    return Context(folder / "artifact", folder / "scratch", seed=1, workers=workers, silent=True)


def rows(folder: Path) -> list[dict[str, object]]:
    return Corpus.open(folder).to_arrow().to_pylist()


def file_bytes(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
