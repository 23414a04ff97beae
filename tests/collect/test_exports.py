import pytest

from volano.collect.exports import Exports, PackageImports, absolute, is_public

EXPORTS = Exports.read(
    {
        "np": PackageImports((("np.linalg", "*", "*"), ("np._core.multi", "array", "array"))),
        "np.linalg": PackageImports((("np.linalg._linalg", "*", "*"),)),
        "pd": PackageImports((("pd.core.api", "Frame", "Frame"),)),
        "pd.core.api": PackageImports((("pd.core.frame", "Frame", "Frame"),)),
        "other": PackageImports((("np._core.multi", "array", "array"),)),
        "pytest": PackageImports((("_pytest.fixtures", "fixture", "fixture"),)),
        "loop": PackageImports((("loop", "x", "x"), ("loop.a", "x", "y"))),
    },
    {"np.linalg._linalg": ["svd"], "np.linalg": ["norm"]},
)


@pytest.mark.parametrize(
    ("module", "name", "public"),
    [
        ("np.linalg._linalg", "svd", "np.linalg.svd"),  # np takes no svd: not in __all__
        ("np.linalg._linalg", "helper", "np.linalg._linalg.helper"),
        ("np._core.multi", "array", "np.array"),  # other.array is np's still
        ("np._core.multi", "array.sum", "np.array.sum"),
        ("pd.core.frame", "Frame.merge", "pd.Frame.merge"),  # through a plain module
        ("_pytest.fixtures", "fixture", "pytest.fixture"),
        ("loop", "x", "loop.x"),
        ("loop.a", "x", "loop.y"),
        ("json", "dumps", "json.dumps"),
    ],
)
def test_public_name_is_the_one_that_people_import(module, name, public):
    assert EXPORTS.public_name(module, name) == public


@pytest.mark.parametrize(
    ("package", "level", "module", "named"),
    [("a.b", 0, "c", "c"), ("a.b", 1, "c", "a.b.c"), ("a.b", 2, "c", "a.c"), ("a.b", 1, "", "a.b")],
)
def test_relative_import_is_counted_from_its_package(package, level, module, named):
    assert absolute(package, level, module) == named


def test_one_private_part_makes_a_name_private():
    assert is_public("a.b.c")
    assert not is_public("a._b.c")
