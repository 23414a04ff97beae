import pickle

import pytest

from volano.core.errors import (
    DataError,
    GateRefused,
    MissingExtra,
    RecipeError,
    RunFailed,
    StoreError,
    did_you_mean,
    unknown_key,
)


@pytest.mark.parametrize(
    ("kind", "code"),
    [(RecipeError, 2), (DataError, 2), (StoreError, 2), (MissingExtra, 2), (RunFailed, 1),
     (GateRefused, 3)],
)  # fmt: skip
def test_an_error_says_where_what_and_what_to_do_and_survives_pickling(kind, code):
    error = pickle.loads(pickle.dumps(kind("disk full", "/runs", "Free some space.")))
    assert str(error) == "/runs: disk full. Free some space."
    assert (type(error), error.exit_code) == (kind, code)


def test_a_missing_extra_is_an_import_error_too():
    assert issubclass(MissingExtra, ImportError)


def test_the_nearest_name_is_offered_or_the_first_of_all():
    assert did_you_mean("bta", ["alpha", "beta"]) == "Did you mean 'beta'?"
    assert did_you_mean("xyz", ["alpha", "beta"]) == "Known: alpha, beta."
    assert did_you_mean("xyz", map(str, range(25))).endswith("18, 19 and 5 more.")
    assert did_you_mean("xyz", []) == "There is none to choose from."
    assert unknown_key("a", "x.yaml:1", ["b"]).what == "unknown key 'a'"
