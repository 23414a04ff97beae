"""What is said of a run beside what a plan gives, on every device that could have made it.

Figures of large runs are passed on without their machine: "1,000 A100s, a month, 1,300 MWh" joins
the time of one device with the energy of another.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from volano.core.errors import DataError, did_you_mean
from volano.core.recipe import read_count
from volano.study.devices import DEVICES
from volano.study.training_plan import DAY, MEGA, TrainingTarget, time_of

NEAR = 0.2  # claims within a fifth are met

# What a claim may be about, and the figure that answers it.
CLAIMS = {
    "days": "time",
    "device-hours": "device-hours",
    "MWh": "energy",
    "money": "price",
    "tCO2e": "CO₂",
}


@dataclass(frozen=True)
class Claim:
    """What somebody says, beside the plan's own figure."""

    claimed: float
    planned: float

    @property
    def met(self) -> bool:
        """Within a fifth."""
        return abs(self.planned / self.claimed - 1) <= NEAR


def read_claims(texts: Iterable[str]) -> dict[str, float]:
    """`days=30`, `MWh=1300` and so on. Raises DataError for what no plan can answer."""
    claims: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in CLAIMS:
            raise DataError(f"no claim '{name}'", "--claimed", did_you_mean(name, CLAIMS))
        number = read_count(value)
        if number is None or number <= 0:
            raise DataError(f"no number in '{text}'", "--claimed", f"Write it as {name}=30.")
        claims[name] = float(number)
    return claims


def judge_claims(target: TrainingTarget) -> dict[str, dict[str, Claim]]:
    """Each claim beside the plan, for the device asked for and all whose utilisation is published.

    Utilisation, power and price are each device's own there. Device → claim; a claim of money is
    left out where no price is known.
    """
    judged = {target.device.name: _claims_of(target)}
    for device in DEVICES:
        if device.name not in judged and device.utilisation is not None:
            other = replace(
                target,
                device=device,
                utilisation=None,
                hardware_utilisation=None,
                watts=None,
                price_per_hour=None,
            )
            judged[device.name] = _claims_of(other)
    return judged


def _claims_of(target: TrainingTarget) -> dict[str, Claim]:
    planned = {each.name: each.value for each in time_of(target)}
    return {
        name: Claim(value, planned[CLAIMS[name]])
        for name, value in target.claims.items()
        if CLAIMS[name] in planned
    }


def implied_watts(target: TrainingTarget) -> float | None:
    """What a device would have drawn, were the claims of time and energy both of one run."""
    claims = target.claims
    if "MWh" not in claims or not {"days", "device-hours"} & claims.keys():
        return None
    hours = claims.get("device-hours") or claims["days"] * DAY * target.devices
    return claims["MWh"] * MEGA / target.pue / hours


def verdict(target: TrainingTarget, judged: Mapping[str, Mapping[str, Claim]]) -> list[str]:
    """Sentences: which devices meet which claims, whether one meets all, and what the claims of
    time and energy say together."""
    meeting = {
        name: [device for device, claims in judged.items() if name in claims and claims[name].met]
        for name in target.claims
    }
    lines = [
        f"{name}={target.claims[name]:g}: {', '.join(devices) or 'on no device'}."
        for name, devices in meeting.items()
    ]
    all_met = set.intersection(*map(set, meeting.values()))
    if len(meeting) > 1:
        lines.append(
            f"All claims are met on {', '.join(sorted(all_met))}."
            if all_met
            else "Inconsistent: no device meets them all, so they are not of one run."
        )
    watts = implied_watts(target)
    if watts is not None:
        own = target.watts or target.device.watts
        lines.append(
            f"Time and energy together say that a device drew {watts:,.0f} W; "
            f"{target.device.name} draws {own:g} W."
        )
    return lines
