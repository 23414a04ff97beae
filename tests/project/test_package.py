"""What a user receives: the wheel holds the recipes and the data that the code reads."""

import zipfile

import pytest

hatchling = pytest.importorskip("hatchling.builders.wheel")


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    built = next(
        hatchling.WheelBuilder(str(root)).build(directory=str(folder), versions=["standard"])
    )
    return zipfile.ZipFile(built)


@pytest.mark.parametrize(
    "pattern",
    [
        "recipes/**/*.yaml",
        "collect/data/*.jsonl",
        "curate/data/*",
        "page/static/*",
        "**/templates/*.html",
        "**/*.py",
    ],
)
def test_the_wheel_holds_every_file_of_the_package(root, wheel, pattern):
    package = root / "src" / "volano"
    wanted = {f"volano/{path.relative_to(package)}" for path in package.glob(pattern)}
    assert wanted
    assert wanted - set(wheel.namelist()) == set()


def test_the_wheel_carries_licence_types_and_command(wheel):
    names = wheel.namelist()
    assert "volano/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    points = next(name for name in names if name.endswith("entry_points.txt"))
    assert b"volano = volano.__main__:main" in wheel.read(points)
