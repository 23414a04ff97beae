"""The four scalings against their papers' formulas, in float64 and pair by pair."""

from math import log, pi

import pytest
import torch

from volano.core.errors import RecipeError
from volano.model.config import RopeScaling
from volano.model.rotary import no_rotation, rotation_at, rotation_table

THETA, WIDTH, ORIGINAL, FACTOR = 10_000.0, 32, 64, 4.0
PLAIN = [THETA ** (-2 * pair / WIDTH) for pair in range(WIDTH // 2)]


def frequencies_and_factor(scaling):
    """Read from the table: position 1 turns by the frequency, and cos² + sin² is the factor²."""
    cos, sin = torch.split(rotation_table(2, WIDTH, THETA, scaling)[1], [WIDTH, WIDTH // 2])
    cos = cos[: WIDTH // 2]
    return torch.atan2(sin, cos), torch.hypot(sin, cos)


def check(scaling, expected, factor=1.0):
    found, length = frequencies_and_factor(scaling)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(length, torch.full_like(length, factor))


def test_no_scaling_and_dynamic_within_its_context_turn_by_powers_of_theta():
    check(None, PLAIN)
    check(RopeScaling("dynamic", FACTOR), PLAIN)


def test_linear_divides_every_frequency():
    check(RopeScaling("linear", FACTOR), [each / FACTOR for each in PLAIN])


def test_llama3_keeps_short_waves_and_divides_long_ones():
    expected = []
    for each in PLAIN:
        wave = 2 * pi / each
        share = min(max((ORIGINAL / wave - 1) / (4 - 1), 0), 1)
        expected.append(share * each + (1 - share) * each / FACTOR)
    assert expected[0] == PLAIN[0]
    assert expected[-1] == PLAIN[-1] / FACTOR
    check(RopeScaling("llama3", FACTOR, ORIGINAL), expected)


def yarn_frequencies(fast, slow, truncate):
    def pair_of(turns):
        return WIDTH * log(ORIGINAL / (turns * 2 * pi)) / (2 * log(THETA))

    first, last = max(pair_of(fast), 0), pair_of(slow)
    if truncate:
        first, last = int(first), int(last) + 1
    ramp = [min(max((pair - first) / (last - first), 0), 1) for pair in range(WIDTH // 2)]
    return [
        (1 - share) * each + share * each / FACTOR for each, share in zip(PLAIN, ramp, strict=True)
    ]


@pytest.mark.parametrize("truncate", [True, False])
def test_yarn_keeps_pairs_that_turn_often(truncate):
    scaling = RopeScaling("yarn", FACTOR, ORIGINAL, beta_fast=8, truncate=truncate)
    expected = yarn_frequencies(8, 1, truncate)
    assert expected[0] == PLAIN[0]
    assert expected[-1] == PLAIN[-1] / FACTOR
    check(scaling, expected, factor=0.1 * log(FACTOR) + 1)


@pytest.mark.parametrize(
    ("stated", "factor"),
    [
        ({"attention_factor": 0.7}, 0.7),
        ({"mscale": 2.0, "mscale_all_dim": 0.5}, (0.2 * log(4) + 1) / (0.05 * log(4) + 1)),
        ({"mscale": 2.0}, 0.1 * log(4) + 1),  # one alone counts for nothing
    ],
)
def test_yarn_multiplies_what_it_turns(stated, factor):
    _, length = frequencies_and_factor(RopeScaling("yarn", FACTOR, ORIGINAL, **stated))
    torch.testing.assert_close(length, torch.full_like(length, factor))


def test_no_rotation_is_the_rotation_of_position_zero():
    table = rotation_table(3, WIDTH, THETA)
    for mine, first in zip(
        no_rotation(table), rotation_at(table, torch.tensor([[0]])), strict=True
    ):
        assert torch.equal(mine, first)


@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        ({"kind": "linear", "factor": 0.5}, "factor 0.5 is below 1"),
        ({"kind": "yarn", "factor": 2.0}, "no original context"),
        (
            {
                "kind": "llama3",
                "factor": 2.0,
                "original_context": 8,
                "low_frequency_factor": 4.0,
            },
            "high_frequency_factor is not above low_frequency_factor",
        ),
    ],
)
def test_impossible_scaling_is_refused(stated, problem):
    with pytest.raises(RecipeError, match=problem):
        RopeScaling(**stated)
