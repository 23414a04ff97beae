"""The best share of a mixture is found between those tried, by a law that is known."""

import math

import pytest

from volano.core.artifact import Artifact
from volano.core.store import Store
from volano.study.ablation_found import FoundAblation, FoundTrial
from volano.study.mixture_law import best_share, predicted

SHARES = {"a": 0.1, "b": 0.25, "c": 0.5, "d": 0.75}


def bits(floor, fall, rate, own):
    return floor + fall * math.exp(-rate * own)


def domains(shares=SHARES, apart=0.01):
    """Bits per byte of code and prose by the law, and two seeds that lie apart."""
    means = {
        "code": {arm: bits(1.5, 1.0, 4.0, share) for arm, share in shares.items()},
        "prose": {arm: bits(1.8, 0.5, 3.0, 1 - share) for arm, share in shares.items()},
    }
    return {
        kind: {arm: {"1": mean - apart, "2": mean + apart} for arm, mean in by_arm.items()}
        for kind, by_arm in means.items()
    }


def test_the_law_is_found_again_and_its_least_lies_between_the_shares_that_were_tried():
    found = best_share(domains(), SHARES, "1M")
    grid = [place / 100 for place in range(10, 76)]
    mean = {s: (bits(1.5, 1.0, 4.0, s) + bits(1.8, 0.5, 3.0, 1 - s)) / 2 for s in grid}
    least = min(mean, key=mean.get)
    assert 0.5 < least < 0.75, "or a share that was tried would do"
    assert (found.kind, found.other, found.size) == ("code", "prose", "1M")
    assert found.share == pytest.approx(least, abs=0.011)
    assert found.bits == pytest.approx(mean[least], abs=1e-3)
    assert found.left < 1e-3
    assert found.spread == pytest.approx(0.01 * math.sqrt(2))
    assert found.best_tried == "c"
    assert found.bits < found.bits_tried == pytest.approx(mean[0.5])
    assert (
        f"pretrain.mixture={{code: {found.share:.2f}, prose: {1 - found.share:.2f}}}" in found.said
    )


def test_where_the_law_does_not_fit_there_is_no_prediction():
    scattered = domains()
    scattered["code"]["b"] = {"1": 3.0, "2": 3.0}
    assert best_share(scattered, SHARES) is None
    prose = domains()
    prose["prose"]["c"] = {"1": 1.0, "2": 1.0}
    assert best_share(prose, SHARES) is None
    flat = {kind: {arm: {"1": 2.0} for arm in SHARES} for kind in ("code", "prose")}
    flat["code"]["b"], flat["prose"]["c"] = {"1": 2.01}, {"1": 1.99}
    assert best_share(flat, SHARES) is None


def test_a_share_at_the_end_of_those_tried_is_no_further():
    falling = domains()
    falling["prose"] = {
        arm: {"1": bits(1.8, 0.01, 1.0, 1 - share)} for arm, share in SHARES.items()
    }
    falling["code"] = {arm: {"1": bits(1.0, 1.0, 2.0, share)} for arm, share in SHARES.items()}
    found = best_share(falling, SHARES)
    assert found.share == pytest.approx(0.75)
    assert found.said.endswith("is not between those tried: it lies at 75\u00a0% code or beyond.")


def test_without_numbers_there_is_no_prediction():
    broken = domains()
    broken["code"]["a"] = {"1": math.nan}
    assert best_share(broken, SHARES) is None


def ablation(folder, mixtures, values, read=None):
    """As an ablation of these mixtures would have left it; `read` has whose tokens are others."""
    trials = []
    for arm, settings in mixtures.items():
        tokens = {"digest": (read or {}).get(arm, "same")}
        parents = {"tokens": tokens}
        meta = {"kind": "checkpoint", "identity": {"settings": settings}, "parents": parents}
        trials.append(FoundTrial(arm, "", 1, 1.0, "", (), (Artifact(folder, meta),)))
    found = FoundAblation(Store(folder), Artifact(folder, {}), tuple(trials))
    report = type("Verdicts", (), {"extra": {"arms": list(mixtures), "values": values}})
    found.__dict__["report"] = report
    return found


def test_arms_that_mix_two_kinds_have_a_prediction_and_others_have_none(tmp_path):
    mixtures = {
        arm: {"mixture": {"prose": 2 * (1 - share), "code": 2 * share, "none": 0.0}}
        for arm, share in SHARES.items()
    }
    values = {f"bits_per_byte.{kind}": each for kind, each in domains().items()}
    (found,) = predicted(ablation(tmp_path, mixtures, values))
    assert found == best_share(domains(), SHARES)
    three = {arm: mixtures[arm] for arm in "abc"}
    assert predicted(ablation(tmp_path, three, values)) == []
    staged = mixtures | {"d": {**mixtures["d"], "curriculum": {"stages": []}}}
    assert predicted(ablation(tmp_path, staged, values)) == []
    other = mixtures | {"d": {"mixture": {"prose": 0.5, "wiki": 0.5}}}
    assert predicted(ablation(tmp_path, other, values)) == []
    longer = mixtures | {"d": {**mixtures["d"], "tokens": 9}}
    assert predicted(ablation(tmp_path, longer, values)) == []
    assert predicted(ablation(tmp_path, mixtures, values, read={"d": "other"})) == []
    natural = mixtures | {"d": {"mixture": {}}}
    assert predicted(ablation(tmp_path, natural, values)) == []
    assert predicted(ablation(tmp_path, mixtures, {"bits_per_byte.all": {}})) == []
