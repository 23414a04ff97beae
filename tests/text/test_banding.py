import pytest
from scipy.integrate import quad

from volano.text.banding import banding_of, candidate_probability, suggested_bandings


@pytest.mark.parametrize(("bands", "threshold"), [(1, 0.5), (14, 0.7), (56, 0.2), (112, 0.05)])
def test_areas_are_those_of_a_numerical_integration(bands, threshold):
    found = banding_of(112, bands, threshold)

    def curve(s):
        return 1 - (1 - s ** (112 // bands)) ** bands

    positive = quad(curve, 0, threshold)[0]
    negative = quad(lambda s: 1 - curve(s), threshold, 1)[0]
    assert found.false_positive_area == pytest.approx(positive, abs=1e-7)
    assert found.false_negative_area == pytest.approx(negative, abs=1e-7)
    assert curve(found.half_found_similarity) == pytest.approx(0.5)


def test_suggestions_are_all_divisors_and_the_best_has_the_least_area():
    found = suggested_bandings(112, 0.7)
    assert sorted(each.bands for each in found) == [1, 2, 4, 7, 8, 14, 16, 28, 56, 112]
    areas = [each.false_positive_area + each.false_negative_area for each in found]
    assert areas == sorted(areas)
    assert found[0].bands == 14  # as FineWeb has it


def test_probability_by_hand():
    assert candidate_probability(0.5, bands=2, rows=1) == 0.75
    assert candidate_probability(1.0, bands=3, rows=9) == 1
