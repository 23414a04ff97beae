"""Does the mixture that small models predict to be the best win at the next size?

    python benchmarks/best_mixture.py [--store STORE] [KEY=VALUE …]

Runs laptop/ablate-mixture (what is in the store is not trained again), fits to its small models
what a share of code does to the bits per byte of code and of functions (study/mixture_law.py),
trains larger models on the share with the least mean of both too, and compares them by seed with
those of the shares that were tried.
"""

import argparse
from collections.abc import Mapping, Sequence
from statistics import fmean

import volano
from volano.stats.seeds import judge
from volano.study.axes import Arm, arms_of
from volano.study.mixture_law import BySeed, best_share

RECIPE = "laptop/ablate-mixture"
DOMAINS = ("code", "function")


def asked_by(arms: Sequence[Arm]) -> tuple[dict[str, float], list[str]]:
    """The share of code of each arm, by its name, and the sizes, the smallest first."""
    shares = {}
    for each in arms:
        mixture = each.section.mixture
        shares[each.name] = mixture["code"] / sum(mixture.values())
    return shares, list(dict.fromkeys(each.size for each in arms))


def of_domains(values: Mapping[str, BySeed], size: str) -> dict[str, BySeed]:
    """Domain → arm → seed → bits per byte, of one size."""
    at = f" @ {size}" if size else ""
    return {domain: values[f"bits_per_byte.{domain}{at}"] for domain in DOMAINS}


def mean_of_both(bits: Mapping[str, BySeed]) -> dict[str, dict[int, float]]:
    """Arm → seed → the mean over domains."""
    return {
        arm: {
            int(seed): fmean(bits[domain][arm][seed] for domain in DOMAINS)
            for seed in bits[DOMAINS[0]][arm]
        }
        for arm in bits[DOMAINS[0]]
    }


def main() -> None:
    """Print the fit, the prediction, and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--store", default="runs")
    asked = parser.parse_args()
    both = volano.ablate(RECIPE, *asked.settings, store=asked.store).report().extra["values"]
    shares, (at_small, *_, at_large) = asked_by(arms_of(RECIPE, asked.settings))
    small = of_domains(both, at_small)
    for arm, by_seed in mean_of_both(small).items():
        print(f"{at_small}: {arm:10} {fmean(by_seed.values()):.4f}")
    fit = best_share(small, shares, at_small)
    if fit is None:
        raise SystemExit("the law does not fit these means")
    print(fit.said)
    share = fit.share
    arms = {"predicted": share} | shares
    written = ", ".join(
        f"{name}: ['pretrain.mixture={{function: {1 - code:.2f}, code: {code:.2f}}}']"
        for name, code in arms.items()
    )
    one_size = [
        f"ablate.arms={{{written}}}",
        "ablate.axes=[]",
        f"pretrain.model.parameters={at_large.partition(' ')[0]}",
    ]
    again = volano.ablate(RECIPE, *asked.settings, *one_size, store=asked.store)
    found = mean_of_both(of_domains(again.report().extra["values"], ""))
    large = {arm: found[arm] for arm in arms}  # the predicted one first
    compared = {
        each.arm: each for each in judge({"mean of both": large}, lower_is_better=["mean of both"])
    }
    for arm, by_seed in large.items():
        line = f"{at_large}: {arm:10} {fmean(by_seed.values()):.4f}"
        if arm in compared:
            pair, verdict = compared[arm].pair, compared[arm].verdict
            line += f"  {pair.difference:+.4f} [{pair.low:+.4f}, {pair.high:+.4f}] {verdict}"
        print(line)


if __name__ == "__main__":
    main()
